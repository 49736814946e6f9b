"""The present position of a cluster, as one node knows it, in a form that travels to another process and back."""

from __future__ import annotations

import base64
from dataclasses import asdict, dataclass, replace
from typing import Any

from mltb_transport.records import TWO_OWNERS
from mltbd.core.failover import Policy
from mltbd.core.node import Node
from mltbd.core.node_config import NodeConfig
from mltbd.core.snapshots import Snapshot
from mltbd.core.timing import Timing
from mltbd.core.workload import Patience
from mltbd.state.audit import MOVES
from mltbd.state.machine import PARTS, State

WITHOUT = ("audit", "store")
"""Parts of the state that decide nothing about places."""
STOP_S = (0.05, 1.0)
"""How long a workload takes to stop, where it was never seen to."""
STOPS_SEEN_MAX = 20


@dataclass(frozen=True, slots=True)
class Mate:
    """One member. `ready`: the workloads it could run; `runs`: workload -> token of what runs there; `lease_enforced`:
    whether it ends them with their lease."""

    node: str
    store: str
    role: str
    priority: int
    up: bool
    ready: tuple[str, ...]
    runs: tuple[tuple[str, int], ...]
    lease_enforced: bool = True


@dataclass(frozen=True, slots=True)
class Position:
    """Everything a world is built from."""

    mates: tuple[Mate, ...]
    leader: str
    term: int
    snapshot: Snapshot
    config: NodeConfig  # of the node that was asked; in a world all share its policy and its timing
    stops_s: tuple[float, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(mate.node for mate in self.mates)

    @property
    def voters(self) -> tuple[str, ...]:
        return tuple(voter.node for voter in self.snapshot.voters)


def position_of(node: Node, near: set[str], now: float) -> Position:
    """`near`: the members that were heard lately. Raises SnapshotError for a state too large to copy."""
    state, consensus = node.state, node.consensus
    snapshot = Snapshot.take(
        state.applied, consensus.log.term_at(state.applied), state.cluster, consensus.log.voters, _dump(state),
        state.levels.level,
    )  # fmt: skip
    mates = []
    for member in node.membership.members(now):
        record = member.record
        up = record.node == node.me or (record.node in near and member.state not in ("UNREACHABLE", "LEAVING"))
        own = record.node == node.me
        runs = tuple(
            (name, placed.token)
            for name, placed in sorted(state.placements.by_workload.items())
            if up and placed.owner == record.node and placed.started
        )
        ready = node.owner.ready(now) if own else record.ready
        enforced = TWO_OWNERS not in record.risks
        mates.append(Mate(record.node, record.store, record.role, record.priority, up, tuple(ready), runs, enforced))
    # Whom nobody has met since this node started is known from the log alone, and not up.
    unmet = [voter for voter in snapshot.voters if node.membership.record(voter.node) is None]
    mates += [Mate(voter.node, voter.store, "voter", 0, False, (), ()) for voter in unmet]
    mates.sort(key=lambda mate: mate.node)
    return Position(tuple(mates), consensus.leader, consensus.term, snapshot, node.config, _stops(state))


def _dump(state: State) -> list[Any]:
    """As State.dump, without the bulky parts: those are never copied."""
    light = State()
    light.become(state)
    for name in WITHOUT:
        setattr(light, name, PARTS[name]())
    return light.dump()


def _stops(state: State) -> tuple[float, ...]:
    """How long the last planned stops took."""
    moves = [event for event in state.audit.events.values() if event.kind in MOVES]
    stops = [phase.seconds for event in moves for phase in event.phases if phase.name == "stop"]
    return tuple(stops[-STOPS_SEEN_MAX:])


# -- on its way --------------------------------------------------------------------------------------------------


def packed(position: Position) -> dict[str, Any]:
    """For JSON."""
    plain = asdict(replace(position.config, checks=()))
    return {
        "mates": [asdict(mate) for mate in position.mates],
        "leader": position.leader,
        "term": position.term,
        "snapshot": base64.b64encode(position.snapshot.data).decode(),
        "config": {name: plain[name] for name in _KEPT},
        "stops_s": list(position.stops_s),
    }


def unpacked(body: dict[str, Any]) -> Position:
    """The inverse of `packed`. What it holds was written by the same release, in the same moment."""
    config = _frozen(body["config"])
    config["timing"] = Timing(**config["timing"])
    config["policy"] = Policy(**config["policy"])
    config["patience"] = Patience(**config["patience"])
    snapshot, _ = Snapshot.read(base64.b64decode(body["snapshot"]))
    return Position(
        tuple(Mate(**_frozen(mate)) for mate in body["mates"]), body["leader"], body["term"], snapshot,
        NodeConfig(**config), _frozen(body["stops_s"]),
    )  # fmt: skip


_KEPT = (
    "node", "cluster_id", "cluster_name", "timing", "heartbeat_s", "node_timeout_s", "quorum_size", "policy", "patience"
)  # fmt: skip


def _frozen(value: Any) -> Any:
    """JSON's lists as the tuples they were."""
    if isinstance(value, list):
        return tuple(_frozen(item) for item in value)
    if isinstance(value, dict):
        return {name: _frozen(item) for name, item in value.items()}
    return value
