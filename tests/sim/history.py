"""What happened in a simulated cluster, as an outside observer could have written it down. The checkers see no more."""

from __future__ import annotations

from dataclasses import dataclass

from mltb_transport.messages import Entry


@dataclass(frozen=True, slots=True)
class Began:
    """A daemon started with what its disk held."""

    at: float
    node: str
    incarnation: int
    store: str
    term: int
    vote: str
    last: int = 0  # index of the end of its log


@dataclass(frozen=True, slots=True)
class Speaking:
    """The daemon that begins here is of a build that speaks these versions of the protocol."""

    at: float
    node: str
    oldest: int
    newest: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A daemon ended, or did not begin, because its build must not take part."""

    at: float
    node: str
    why: str


@dataclass(frozen=True, slots=True)
class AtLevel:
    """Having applied all up to `index`, this node takes its cluster to be at this level."""

    at: float
    node: str
    index: int
    level: int


@dataclass(frozen=True, slots=True)
class Raised:
    """A leader sent out an entry of its own that raises the level."""

    at: float
    node: str
    index: int
    level: int


@dataclass(frozen=True, slots=True)
class Ended:
    """A daemon ended: crash, machine, guard, left."""

    at: float
    node: str
    how: str


@dataclass(frozen=True, slots=True)
class Leads:
    """A node became leader of `term`, holding this log, which begins behind index and term of `base`."""

    at: float
    node: str
    term: int
    log: tuple[Entry, ...]
    base: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Deposed:
    """A node that led leads no more (or has died)."""

    at: float
    node: str


@dataclass(frozen=True, slots=True)
class Voted:
    """A vote left its node: for another, or (by asking for votes) for itself. `store` is the disk that gave it."""

    at: float
    node: str
    term: int
    candidate: str
    store: str


@dataclass(frozen=True, slots=True)
class Spoke:
    """The highest term a node has claimed to others so far. `store` is its disk."""

    at: float
    node: str
    store: str
    term: int


@dataclass(frozen=True, slots=True)
class Applied:
    """A node applied an entry in its `term`. `digest` describes its state after it; empty when more followed."""

    at: float
    node: str
    term: int
    entry: Entry
    digest: str


@dataclass(frozen=True, slots=True)
class Held:
    """The whole log of a node at this moment, from `base` on."""

    at: float
    node: str
    log: tuple[Entry, ...]
    base: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Kept:
    """A node took this snapshot, took it over, or began with it. `digest` describes the state in it."""

    at: float
    node: str
    index: int
    term: int
    digest: str


@dataclass(frozen=True, slots=True)
class Vouched:
    """A node told its leader that a snapshot up to `index` is on this disk."""

    at: float
    node: str
    store: str
    index: int


@dataclass(frozen=True, slots=True)
class WentAlone:
    """An operator gave the cluster up: this disk is all of another one now, which begins behind `index` and `term`.

    `entries`: what was in its log, and is in its snapshot now.
    """

    at: float
    node: str
    store: str
    index: int
    term: int
    entries: tuple[Entry, ...] = ()


@dataclass(frozen=True, slots=True)
class Up:
    """A process of the workload lives on this node from now on."""

    at: float
    node: str
    workload: str
    token: int


@dataclass(frozen=True, slots=True)
class Down:
    """The last process of it is gone."""

    at: float
    node: str
    workload: str
    token: int


@dataclass(frozen=True, slots=True)
class Cut:
    """From now on nothing of any other node reaches this one."""

    at: float
    node: str


@dataclass(frozen=True, slots=True)
class Joined:
    """Something may reach it again."""

    at: float
    node: str


@dataclass(frozen=True, slots=True)
class Asked:
    """An operator asked something of this node."""

    at: float
    node: str
    request: int
    words: str


@dataclass(frozen=True, slots=True)
class Replied:
    """The answer. `operation` is 0 when nothing was put into the log."""

    at: float
    node: str
    request: int
    code: str
    operation: int
    target: str


@dataclass(frozen=True, slots=True)
class Noted:
    """A node explained itself. For people: no checker reads it."""

    at: float
    node: str
    text: str


@dataclass(frozen=True, slots=True)
class Fault:
    """The simulator did this to the cluster."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Broke:
    """A node contradicted itself or failed with an error of its own."""

    at: float
    node: str
    error: str


@dataclass(frozen=True, slots=True)
class Healed:
    """From now on nothing is done to the cluster, and everything is up."""

    at: float


@dataclass(frozen=True, slots=True)
class Closed:
    """The end of the observation."""

    at: float


Happening = (
    Began | Ended | Leads | Deposed | Voted | Spoke | Applied | Held | Kept | Vouched | WentAlone | Up | Down | Cut
    | Joined | Asked | Replied | Noted | Fault | Broke | Healed | Closed | Speaking | Refused | AtLevel | Raised
)  # fmt: skip
History = list[Happening]

STORY_SILENT = (Applied, Held, Kept, Vouched, Spoke, Speaking, AtLevel)


def story(history: History, last: int = 80) -> str:
    """The last happenings in words, one a line."""
    told = [happening for happening in history if not isinstance(happening, STORY_SILENT)]
    return "\n".join(_line(happening) for happening in told[-last:])


def _line(happening: Happening) -> str:
    names = [name for name in happening.__slots__ if name not in ("at", "node", "log")]
    node = getattr(happening, "node", "")
    what = type(happening).__name__.lower()
    rest = " ".join(f"{name}={getattr(happening, name)}" for name in names)
    if isinstance(happening, Noted | Fault):
        rest = happening.text
    return f"{happening.at:9.4f} {node:4} {what:8} {rest}"
