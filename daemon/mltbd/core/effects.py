"""Everything a node can ask for. The shell performs them in the order given and decides nothing.

A message that speaks of durable state is emitted only after the Saved event of the state it speaks of, so the shell
may write to disk in the background, begin with it last, and send at once.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any

from mltb_transport.messages import Entry, Message
from mltb_transport.values import dataclass
from mltbd.core.snapshots import Snapshot


@dataclass(frozen=True, slots=True)
class Save:
    """Make durable in one transaction: term and vote; the snapshot, if there is one, in place of the one before, and
    forget the log up to `base`; then cut the log from `entries[0].index` and append them.

    `base` is index and term of an entry. Where the disk holds that entry, what follows it stays; else all goes.
    Answer with Saved(save). Saves are numbered 1, 2, 3 ... and performed in that order.
    """

    save: int
    term: int
    vote: str
    entries: tuple[Entry, ...]
    snapshot: Snapshot | None = None
    base: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Send:
    """To one member over the request path; may be lost."""

    to: str
    message: Message


@dataclass(frozen=True, slots=True)
class Publish:
    """To whoever listens on the gossip port; may be lost."""

    message: Message


@dataclass(frozen=True, slots=True)
class Contact:
    """To an address whose node id is not known yet: a seed (`host:port` of its gossip port)."""

    address: str
    message: Message


@dataclass(frozen=True, slots=True)
class Link:
    """Keep connections to this member at this address (gossip port, and port + 1)."""

    node: str
    address: str
    port: int
    fresh: bool = False  # it began a new incarnation: connect anew at once


@dataclass(frozen=True, slots=True)
class Unlink:
    """No connections to this member are needed any more."""

    node: str


@dataclass(frozen=True, slots=True)
class Arm:
    """The guard may let the workload of this token run until `deadline` (the node's own clock)."""

    workload: str
    token: int
    deadline: float


@dataclass(frozen=True, slots=True)
class StartWorkload:
    """Start it; the guard refuses without an armed deadline of this token."""

    workload: str
    token: int
    grace_s: float
    """Before the deadline it may go by itself."""


@dataclass(frozen=True, slots=True)
class StopWorkload:
    """Stop it and report it gone."""

    workload: str
    token: int


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to Ask(request). `code` is empty when all is well, else an error code of the contract."""

    request: int
    code: str = ""
    message: str = ""
    hint: str = ""
    result: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What came of client commands, applied here as on every node: (client, seq, outcome), see state/store.py. None
    where the state came as a snapshot: then it is not known whose they were."""

    done: tuple[tuple[str, int, tuple[Any, ...]], ...]


@dataclass(frozen=True, slots=True)
class Refusals:
    """Commands of our own clients, by (client, seq), that have no outcome here: why not, as in Reply."""

    keys: tuple[tuple[str, int], ...]
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Note:
    """A decision worth a log line, in the vocabulary of describe.py."""

    level: str  # debug, info, warning, error
    text: str


@dataclass(frozen=True, slots=True)
class Leave:
    """Everything is handed over; the process may end."""


@dataclass(frozen=True, slots=True)
class Halt:
    """This build must not take part in its cluster: end, and say why. Nothing is handed over."""

    why: str


Effect = (
    Save | Send | Publish | Contact | Link | Unlink | Arm | StartWorkload | StopWorkload | Reply | Outcomes | Refusals
    | Note | Leave | Halt
)  # fmt: skip
