"""Everything that crosses the wire between daemons: frozen values, no behaviour.

A message is identified by its number in `KINDS`. Numbers are never reused. A field may be added at the end of a
class with a default: the older side ignores it, the newer side fills the default in (see transport/DESIGN.md).
"""

from __future__ import annotations

from mltb_transport.gossip import Loss, News, Probe, Probed
from mltb_transport.history import Phase
from mltb_transport.level import Level
from mltb_transport.operations import Drain, Pause, Resume, Undrain
from mltb_transport.pieces import Piece, PieceAnswer
from mltb_transport.records import Record
from mltb_transport.store import Batch, Bundle, BundleAnswer, Forward, Forwarded
from mltb_transport.supervision import Hooked, Proven
from mltb_transport.values import dataclass
from mltb_transport.voters import ChangeVoters, Removed, Voter

# -- commands: what the replicated log holds ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NoOp:
    """The first entry of every term (COORDINATOR): until it commits, nothing older counts as committed.

    What it tells of the election is for the history; `leader` is empty when it was written for another reason.
    """

    leader: str = ""
    cause: str = ""  # silence, broken, transfer, restart; of another reason: what was given up
    votes: tuple[str, ...] = ()
    phases: tuple[Phase, ...] = ()


@dataclass(frozen=True, slots=True)
class Founding:
    """Entry 1 of every cluster: its identity, its voters and the level it begins at."""

    cluster: str
    name: str
    voters: tuple[Voter, ...]
    level: int = 1


@dataclass(frozen=True, slots=True)
class Grant:
    """`owner` may run `workload`. The index of this entry is the fencing token."""

    workload: str
    owner: str
    cause: str  # placement, failover, switchover, failback, drain, handover, rollback
    reason: str = ""
    choice: str = ""  # why this node, for the history
    phases: tuple[Phase, ...] = ()
    lease_s: float = 0.0  # of this placement, for every node; 0: as each of them is configured


@dataclass(frozen=True, slots=True)
class Release:
    """The owner's guard reported the workload of `token` gone and reaped."""

    workload: str
    token: int
    cause: str  # moved, leaving, failed, restarted; of a copy also drained, lost
    took_s: float = 0.0  # since the move was asked for, or, without one, the planned stop began; 0: not known
    detail: str = ""  # of failed: what went wrong


@dataclass(frozen=True, slots=True)
class Move:
    """The owner of `token` shall stop, so that `target` can start. Its index is the operation id.

    It counts only while the placement is as it was at index `at` (0: whenever). `over` is the operation it replaces.
    """

    workload: str
    token: int
    target: str
    cause: str  # switchover, failover, failback, drain
    reason: str = ""
    operator: str = ""  # who asked, as that side says: user@host; empty: the leader itself
    at: int = 0
    over: int = 0


@dataclass(frozen=True, slots=True)
class Abandon:
    """The move `operation` is given up; the owner keeps or takes back the workload."""

    workload: str
    operation: int
    cause: str


@dataclass(frozen=True, slots=True)
class Started:
    """The workload of `token` runs."""

    workload: str
    token: int
    took_s: float = 0.0  # since the grant; 0: not known


@dataclass(frozen=True, slots=True)
class Settled:
    """The workload of `token` has run long enough to forget earlier failed attempts."""

    workload: str
    token: int


@dataclass(frozen=True, slots=True)
class CancelFailback:
    """No automatic failback of `workload` until its placement changes again."""

    workload: str
    operator: str = ""


Command = (
    NoOp | Founding | Grant | Release | Move | Abandon | Started | Settled | CancelFailback | Batch
    | Pause | Resume | Drain | Undrain | Proven | Hooked | ChangeVoters | Level
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """One place in the log. `wall` is the proposing leader's wall clock in milliseconds, for people only."""

    index: int
    term: int
    wall: int
    command: Command


# -- the request path: election, log, lease (ROUTER/DEALER, one way, at most once) ---------------------------------


@dataclass(frozen=True, slots=True)
class Found:
    """The founder asks an empty node to become a voter of a new cluster."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class Founded:
    """The founding entry is on the sender's disk."""

    cluster: str


@dataclass(frozen=True, slots=True)
class Election:
    """ELECTION: may I lead `term`? Stage: probe (could I?), pre (would you?), vote, transfer (I was told to)."""

    term: int
    stage: str
    last_index: int
    last_term: int
    priority: int


@dataclass(frozen=True, slots=True)
class Answer:
    """ANSWER to an Election. A grant carries the request's term, a refusal the voter's own.

    `age`: seconds since this voter last acknowledged any leader, on its own clock; 0 when it does not know.
    `store`: its disk, for the candidate to see whether it is the voter that was agreed on.
    """

    term: int
    stage: str
    granted: bool
    age: float
    store: str = ""


@dataclass(frozen=True, slots=True)
class Append:
    """COORDINATOR, heartbeat and log in one: entries after (prev_index, prev_term), and a round to acknowledge.

    `level`: of the cluster, as the leader has applied it; 0 while it does not know.
    `confirmed_s`: how long ago, as this was sent, the youngest round began that a quorum has acknowledged.
    """

    term: int
    round: int
    prev_index: int
    prev_term: int
    commit: int
    alive: tuple[str, ...]  # members that acknowledged this leader lately
    entries: tuple[Entry, ...]
    level: int = 0
    confirmed_s: float = 0.0


@dataclass(frozen=True, slots=True)
class AppendAnswer:
    """`ok`: the log matches up to `index`, durably. Else `index` is where the leader should try next.

    `oldest` to `newest` are the versions of the protocol that this node speaks.
    """

    term: int
    round: int
    ok: bool
    index: int
    store: str
    ready: tuple[str, ...]  # workloads this node could run now
    listens: bool = True  # clients of this node wait for what is committed: tell at once
    oldest: int = 1
    newest: int = 1
    told: bool = True  # else it is yet to learn what it may run, and that `ready` is empty says nothing


@dataclass(frozen=True, slots=True)
class TimeoutNow:
    """The leader hands over: stand for the next term at once if your log ends at `last_index`."""

    term: int
    last_index: int


@dataclass(frozen=True, slots=True)
class Renew:
    """The owner asks to run on; `nonce` finds the moment it asked, which never leaves its node."""

    workload: str
    token: int
    nonce: int


@dataclass(frozen=True, slots=True)
class Renewed:
    """A quorum round that began after the request confirmed the leader; or why not."""

    workload: str
    token: int
    nonce: int
    ok: bool
    cause: str = ""
    lease_s: float = 0.0  # of the placement, see Grant


@dataclass(frozen=True, slots=True)
class Propose:
    """A follower asks the leader to append a command about its own workload. Safe to repeat."""

    command: Command


@dataclass(frozen=True, slots=True)
class Ping:
    """Are you there? Measures the round trip of two live event loops."""

    nonce: int


@dataclass(frozen=True, slots=True)
class Pong:
    """Yes."""

    nonce: int


# -- gossip (PUB/SUB: lossy, unordered) and its repair (request path) ----------------------------------------------


@dataclass(frozen=True, slots=True)
class Suspicion:
    """The publisher has not heard from `node`, last known in `incarnation`."""

    node: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Published on the gossip port every heartbeat interval and on every change."""

    record: Record
    suspicions: tuple[Suspicion, ...]


@dataclass(frozen=True, slots=True)
class Sync:
    """Push-pull: everything the sender knows; `reply` asks for the same in return."""

    records: tuple[Record, ...]
    reply: bool
    losses: tuple[Loss, ...] = ()


# -- the control plane (ROUTER/DEALER with the command line and the SDK) -------------------------------------------


@dataclass(frozen=True, slots=True)
class Request:
    """A call on the control socket; `params` is a JSON object as text. `id` is the caller's, echoed back."""

    id: int
    method: str
    params: str


@dataclass(frozen=True, slots=True)
class Response:
    """`body` is a JSON object as text: the result when `ok`, else {code, message, hint}."""

    id: int
    ok: bool
    body: str


Message = (
    Found | Founded | Election | Answer | Append | AppendAnswer | TimeoutNow | Renew | Renewed | Propose | Ping | Pong
    | Heartbeat | Sync | News | Probe | Probed | Request | Response | Forward | Forwarded | Bundle | BundleAnswer
    | Piece | PieceAnswer | Removed
)  # fmt: skip

KINDS: dict[int, type] = {
    1: Heartbeat,
    2: Sync,
    3: Ping,
    4: Pong,
    5: News,
    6: Probe,
    7: Probed,
    10: Found,
    11: Founded,
    12: Election,
    13: Answer,
    14: Append,
    15: AppendAnswer,
    16: TimeoutNow,
    17: Renew,
    18: Renewed,
    19: Propose,
    20: Forward,
    21: Forwarded,
    22: Bundle,
    23: BundleAnswer,
    30: Request,
    31: Response,
    40: Removed,
    50: Piece,
    51: PieceAnswer,
}
COMMANDS: dict[int, type] = {
    1: NoOp,
    2: Founding,
    3: Grant,
    4: Release,
    5: Move,
    6: Abandon,
    7: Started,
    8: Settled,
    9: CancelFailback,
    10: ChangeVoters,
    20: Batch,
    30: Pause,
    31: Resume,
    32: Drain,
    33: Undrain,
    40: Hooked,
    41: Proven,
    60: Level,
}
