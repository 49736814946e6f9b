"""Everything that can happen to a node. The counterpart of effects.py."""

from __future__ import annotations

from zlib import crc32

from mltb_transport.messages import Entry, Message
from mltb_transport.store import Packed
from mltb_transport.values import dataclass
from mltbd.core.snapshots import Snapshot

INCARNATION_SPAN = 1 << 32
"""Numbers of one incarnation never answer for another: a late answer must not extend a lease."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """What the journal held when this incarnation began. The one argument a Node is born with, not an event."""

    store: str
    incarnation: int
    term: int
    vote: str  # empty: none in this term
    entries: tuple[Entry, ...]
    snapshot: Snapshot | None = None
    base: tuple[int, int] | None = None  # index and term of the last entry that is gone; None: the snapshot's

    @property
    def last_index(self) -> int:
        """Of the last entry that was on disk, as itself or within the snapshot."""
        if self.entries:
            return self.entries[-1].index
        return self.snapshot.index if self.snapshot is not None else 0

    @property
    def first_number(self) -> int:
        """Where it begins to number what it asks. By disk too: a wiped one counts its incarnations from 1 again."""
        return self.incarnation * INCARNATION_SPAN + crc32(self.store.encode()) // 4


@dataclass(frozen=True, slots=True)
class Tick:
    """The deadline the node asked for has passed."""


@dataclass(frozen=True, slots=True)
class Received:
    """A message from another member: decoded, authenticated, of this cluster or of none yet."""

    sender: str
    incarnation: int
    cluster: str
    message: Message


@dataclass(frozen=True, slots=True)
class Saved:
    """The Save of this number, and all before it, are durable."""

    save: int


@dataclass(frozen=True, slots=True)
class GuardSays:
    """The guard's report on one workload, also given for each when the daemon starts.

    `what`: running (adopted or just started), starting and stopping (adopted, while a hook runs before or after it),
    gone (the whole tree is reaped), failed (could not be started).
    """

    what: str
    workload: str
    token: int
    pid: int = 0
    cause: str = ""  # of gone: exited, stopped, deadline; of failed: the error
    status: int = 0  # exit code, or minus the signal
    deadline: float = 0.0  # of running: until when the guard lets it run


@dataclass(frozen=True, slots=True)
class HookEnded:
    """A hook of a run has ended: whether it has done its work, and why not."""

    workload: str
    token: int
    hook: str
    seconds: float
    ok: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Checked:
    """One look at a workload's run (token and pid), or at the node itself (empty workload)."""

    workload: str
    check: str
    ok: bool
    detail: str = ""
    token: int = 0
    pid: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection to a member broke: its daemon died, or the network did. A hint: it may make us stand earlier."""

    node: str


@dataclass(frozen=True, slots=True)
class Strain:
    """The shell measured its own loop: `lag_s` is how late the last timer ran."""

    lag_s: float


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A node speaks a version of the protocol that this release does not read."""

    sender: str
    version: int


@dataclass(frozen=True, slots=True)
class StopRequested:
    """SIGTERM: hand everything over, then leave."""


@dataclass(frozen=True, slots=True)
class Ask:
    """An operator's request. `verb`: failover, switchover, failback, cancel_failback, pause, resume, drain,
    undrain, or one of VOTER_VERBS."""

    request: int
    verb: str
    workload: str = "main"
    target: str = ""  # a node
    reason: str = ""
    dry_run: bool = False
    operator: str = ""  # who asks, as that side says
    at: int = 0  # a move: refused when the placement changed after this index; 0: whenever
    seconds: float = 0.0  # pause: for how long; 0: until resumed
    force: bool = False  # drain: although something has nowhere else to run


@dataclass(frozen=True, slots=True)
class Submit:
    """Commands of our own clients; each has an outcome (effect Outcomes) or a refusal."""

    commands: tuple[Packed, ...]


@dataclass(frozen=True, slots=True)
class ReadState:
    """May we read our own state now? A Reply without a code: it holds all that was acknowledged before this."""

    request: int


@dataclass(frozen=True, slots=True)
class Listen:
    """Whether somebody here waits for what other nodes' clients do: for a lock, or for a change."""

    wanted: bool


Event = (
    Tick | Received | Saved | GuardSays | HookEnded | Checked | Lost | Strain | StopRequested | Ask | Submit | ReadState
    | Listen | Unreadable
)  # fmt: skip
