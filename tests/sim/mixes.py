"""Which faults, how often, for how long: what a seed draws its schedule from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

EVERYTHING: Mapping[str, float] = {
    "crash_daemon": 4,
    "crash_machine": 3,
    "pause": 3,
    "isolate": 3,
    "split": 3,
    "one_way": 3,
    "bridge": 1,
    "star": 1,
    "loss": 2,
    "lag": 2,
    "broken_line": 1,
    "slow_disk": 2,
    "exit": 2,
    "unstartable": 1,
    "stop": 2,
    "ask": 4,
    "step_wall": 1,
    "crash_all": 0.3,
    "wipe": 0.2,
    "outsider": 0.5,
    "stutter": 0.5,
    "dethrone": 1,
    "resign": 0.5,
    "recount": 0.5,
    "join": 0.7,
    "remove": 0.4,
    "promote": 0.3,
    "admit": 0.4,
    "hold": 0.7,
    "drain": 0.7,
}


@dataclass(frozen=True, slots=True)
class Mix:
    """Which faults, how often, for how long. `aim`: the share that hits the leader or the owner."""

    weights: Mapping[str, float] = field(default_factory=lambda: EVERYTHING)
    pause_s: tuple[float, float] = (0.1, 2.0)
    duration_s: float = 20.0
    from_s: float = 0.0
    aim: float = 0.6
    back_s: tuple[float, float] = (0.3, 6.0)
    """How long a machine stays off, or a network stays torn."""
    heedless: bool = False
    """Wipe whatever comes; else only where every set of voters that anybody has on disk keeps its majority."""
    loss: float = 0.0
    """This share of all words is lost, and half as many come twice, whatever else happens."""
    slowest_s: float = 0.0
    """How long one write may take on a disk that is made slow for good."""
    name: str = "storm"
    """The scenario for soak and replay in which a seed is played with it."""


MEMBERS = Mix(
    {name: 0.4 * weight for name, weight in EVERYTHING.items()}
    | {"join": 3, "remove": 3, "promote": 3, "admit": 3, "wipe": 2, "split": 2, "isolate": 2, "crash_daemon": 2},
    duration_s=40.0,
    name="members",
)
"""Nodes come and go all the time."""

SLOW = Mix(
    {
        "slow_writes": 8, "crash_daemon": 4, "crash_machine": 2, "crash_all": 0.2, "ask": 1, "dethrone": 0.5,
        "pause": 0.5,
    },
    duration_s=30.0,
    loss=0.2,
    slowest_s=2.5,
    name="slow",
)  # fmt: skip
"""Writes of seconds, and words that never arrive."""

LONG = Mix(pause_s=(0.2, 4.0), duration_s=24.0)
"""Time to recover, and time for one fault to meet what another left behind."""


def _mostly(name: str, faults: Mapping[str, float], longest_pause_s: float) -> Mix:
    """These, one upon the other, and everything else now and then."""
    rest = {name: 0.3 * weight for name, weight in EVERYTHING.items()}
    return Mix({**rest, **faults}, pause_s=(0.05, longest_pause_s), name=name)


DISKS = _mostly(
    "disks",
    {
        "wipe": 6, "crash_daemon": 6, "crash_machine": 3, "isolate": 3, "split": 3, "slow_disk": 3, "join": 1, "ask": 3,
    },
    1.0,
)  # fmt: skip
"""Disks are lost while daemons crash."""

STOPS = _mostly(
    "stops",
    {
        "pause": 6, "stop": 5, "exit": 4, "drain": 4, "hold": 3, "ask": 6, "one_way": 4, "crash_daemon": 4,
    },
    1.0,
)  # fmt: skip
"""Operators and workloads stop what runs, and nodes stand still."""

NETS = _mostly(
    "nets",
    {
        "one_way": 6, "bridge": 4, "star": 4, "loss": 4, "lag": 5, "split": 4, "dethrone": 4, "resign": 3, "ask": 5,
        "crash_daemon": 4, "slow_disk": 3,
    },
    0.8,
)  # fmt: skip
"""Networks that are torn in every way, under leaders that change."""

STORMS = (MEMBERS, Mix(), LONG, DISKS, MEMBERS, Mix(), STOPS, NETS)
"""What seeds are played with, in turns."""
