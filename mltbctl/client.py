"""The Python SDK: Client and AsyncClient, the same calls, sync and async.

Every failure of a call is an MltbError; an argument that nobody can mean is a ValueError or a TypeError before it.

with Client() as node:                                   # the daemon of this machine
    node.status()["cluster"]["leader"]
    node.state.set("greeting", {"text": "hello"})        # replicated key-values
    with node.lock("deploy", ttl=30, wait=10) as lock:   # a lock that extends itself; lock.token, lock.lost
        ...
Client("10.0.1.10:7947", "10.0.1.11:7947", secret=...)   # control ports of other machines, tried in turn
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from mltbctl.errors import (
    AuthenticationFailed,
    Compacted,
    LockLost,
    LockNotAcquired,
    MltbError,
    NoQuorum,
    Refused,
    Timeout,
    UnknownOutcome,
    Unreachable,
)
from mltbctl.lines import Lines
from mltbctl.operator_name import operator_name
from mltbctl.settings import TIMEOUT_S, TIMEOUT_S_MAX

if TYPE_CHECKING:
    from types import TracebackType

    from mltbctl.async_client import AsyncClient
    from mltbctl.lock_keeper import Lock
    from mltbctl.locks import HeldLock, Locks
    from mltbctl.store_client import Change, Conflict, Entry, Listing, State, Watch

__all__ = [
    "AsyncClient",
    "AuthenticationFailed",
    "Change",
    "Client",
    "Compacted",
    "Conflict",
    "Entry",
    "HeldLock",
    "Listing",
    "Lock",
    "LockLost",
    "LockNotAcquired",
    "Locks",
    "MltbError",
    "NoQuorum",
    "Refused",
    "State",
    "Timeout",
    "UnknownOutcome",
    "Unreachable",
    "Watch",
]

_ELSEWHERE = {
    "AsyncClient": "mltbctl.async_client",
    "Change": "mltbctl.store_client",
    "Conflict": "mltbctl.store_client",
    "Entry": "mltbctl.store_client",
    "HeldLock": "mltbctl.locks",
    "Listing": "mltbctl.store_client",
    "Lock": "mltbctl.lock_keeper",
    "Locks": "mltbctl.locks",
    "State": "mltbctl.store_client",
    "Watch": "mltbctl.store_client",
}
"""What is loaded when it is first asked for: most command lines never do."""


def __getattr__(name: str) -> Any:
    if name not in _ELSEWHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_ELSEWHERE[name]), name)


class Client:
    """Calls to one daemon or the next. For any number of threads; all clients of a process that know the same daemons
    share a connection.

    `nodes`: socket paths, `host:port` of control ports, or ids of members the local daemon knows; each is a
    fall-back of the one before, and calls of `state` and `locks` go to the leader where it is among them. None given:
    `$MLTB_NODE`, `$MLTB_SOCKET`, else the daemon of this machine. `secret` is needed over TCP only; None looks in
    `$CLUSTER_SECRET`, `$CLUSTER_SECRET_FILE` and the configuration file (`config`, else its usual place). `timeout`:
    seconds a call may take. Calls of `state`, `locks` and `lock` are tried again within it, at other nodes too, without
    ever being done twice.
    """

    def __init__(self, *nodes: str, secret: str | None = None, timeout: float = TIMEOUT_S, config: str = "") -> None:
        if not 0 < timeout <= TIMEOUT_S_MAX:
            raise ValueError(f"timeout of {timeout} s is not within 0 and {TIMEOUT_S_MAX:.0f} s")
        self._lines = Lines(nodes, secret, timeout, config)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up, where no other client uses the connection; a later call opens it anew. Safe to repeat."""
        self._lines.close()

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Where a line may lead, best first. Empty before the first call."""
        return tuple(self._lines.endpoints)

    @property
    def connected_to(self) -> str:
        """The endpoint that answered last; empty before the first call."""
        return self._lines.connected_to

    # -- locks and state ------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """The replicated key-values."""
        from mltbctl.store_client import State

        return State(self._lines)

    @property
    def locks(self) -> Locks:
        """Single calls for locks that nobody extends."""
        from mltbctl.locks import Locks

        return Locks(self._lines)

    def lock(
        self, name: str, ttl: float | None = None, wait: float = 0.0, *, delay: float | None = None, holder: str = ""
    ) -> Lock:
        """A lock for a `with` block: waits up to `wait` seconds, extends itself, and is released at the end.

        LockNotAcquired on entry; LockLost at the end when it was lost inside. `lock.lost` is set before anybody
        else may hold it. `ttl`, `delay` and `holder` as for Locks.acquire. Where the node has
        DISTRIBUTED_LOCK_AUTO_EXTEND off it lasts for its time and no longer.
        """
        from mltbctl.lock_keeper import Lock

        return Lock(self.locks, name, ttl=ttl, wait=wait, delay=delay, holder=holder)

    # -- what only reads ------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """The whole picture as this node sees it: the dict of `mltbctl status -o json`."""
        return self._read("status")

    def nodes(self) -> list[dict[str, Any]]:
        """The members, as in `status()["nodes"]`."""
        return cast("list[dict[str, Any]]", self.status()["nodes"])

    def ping(self) -> dict[str, Any]:
        """Who answers: {"node", "version"}."""
        return self._read("ping")

    def is_(self, what: str, node: str | None = None) -> bool | None:
        """Is `node` (None: the one asked) leader, primary, healthy, paused or quorate? None: cannot tell."""
        return cast("bool | None", self.verdict(what, node)["answer"])

    def verdict(self, what: str, node: str | None = None) -> dict[str, Any]:
        """The answer to `is_` with its reason: {"answer": bool or None, "reason"}."""
        return self._read("is", what=what, node=node)

    def health(self, *, run: bool = False) -> dict[str, Any]:
        """What this node's checks say: the dict of `mltbctl health -o json`. `run`: after running them all now."""
        return self._read("health", run=run)

    def survey(self, *, quick: bool = False) -> dict[str, Any]:
        """What every member tells of itself, for a diagnosis: {"node", "facts" by node (None: no answer), "silent",
        "clocks"}. `quick` leaves the disks alone."""
        whole = page = self._read("survey", quick=quick)
        while page.pop("more", False):
            page = self._read("survey", quick=quick, after=page["last"])
            for part in ("facts", "silent", "clocks"):
                whole[part] |= page[part]
        whole.pop("last", None)
        return whole

    def reload(self) -> dict[str, Any]:
        """Have the daemon read its configuration anew, as SIGHUP does. What it made of it is in its log."""
        return self._move("reload")

    def operation(self, operation: int) -> dict[str, Any]:
        """How far a move is: state (running, done, failed), phases with seconds, downtime, token, owner."""
        return self._read("operation", id=operation)

    def events(self, **choice: Any) -> dict[str, Any]:
        """A page of the history: {"events", "last", "more"}; the next page is the one `after` this one's `last`.

        `choice`: `after`, `since` (wall milliseconds), `newest` (how many at most), `kind`, `workload`.
        """
        return self._read("events", **choice)

    def event(self, number: int | None = None) -> dict[str, Any]:
        """One event of the history with what belongs to its story; None: the last that mattered, or null."""
        return self._read("event", id=number)

    def simulate(self, fault: str) -> dict[str, Any]:
        """What would happen: `kill n1`, `stop n2`, `split n1 | n2 n3`, `cut n1 n2`. Changes nothing."""
        return self._read("simulate", fault=fault)

    # -- what moves a workload ------------------------------------------------------------------------------

    def failover(
        self,
        workload: str = "main",
        *,
        to: str | None = None,
        reason: str = "",
        dry_run: bool = False,
        at: int | None = None,
    ) -> dict[str, Any]:
        """Place `workload` on another node now, healthy owner or not; None lets the leader choose the best.

        Returns {"operation", "workload", "from", "to", "at", "plan"} as soon as the move is in the log; `operation`
        is None with `dry_run`, which only plans, and where nothing is to be moved. A move to the same node that is
        under way is no second one: its `operation` is returned, with `dry_run` too. A plan's `at`, given back, has the
        move refused when the placement has changed since. Refused tells the verdict on each node.
        """
        return self._move("failover", workload=workload, to=to, reason=reason, dry_run=dry_run, at=at)

    def switchover(
        self, to: str, workload: str = "main", *, reason: str = "", dry_run: bool = False, at: int | None = None
    ) -> dict[str, Any]:
        """Move `workload` from its healthy owner to `to`. Returns and raises as `failover` does."""
        return self._move("switchover", workload=workload, to=to, reason=reason, dry_run=dry_run, at=at)

    def failback(
        self, workload: str = "main", *, reason: str = "", dry_run: bool = False, at: int | None = None
    ) -> dict[str, Any]:
        """Move `workload` back to its preferred node. Returns and raises as `failover` does."""
        return self._move("failback", workload=workload, reason=reason, dry_run=dry_run, at=at)

    def cancel_failback(self, workload: str = "main") -> None:
        """No automatic failback of `workload` until it moves again."""
        self._move("failback_cancel", workload=workload)

    # -- what holds the cluster still -----------------------------------------------------------------------

    def pause(self, seconds: float = 0.0, *, reason: str = "") -> dict[str, Any]:
        """No automatic moves for so long; 0: until `resume`. Returns {"changed", "message", "at"}."""
        return self._move("pause", seconds=seconds, reason=reason)

    def resume(self) -> dict[str, Any]:
        """End the pause; `changed` is False when there was none."""
        return self._move("resume")

    def drain(self, node: str, *, reason: str = "", force: bool = False, dry_run: bool = False) -> dict[str, Any]:
        """Empty `node` and place nothing there. Returns when that is in the log; the workloads leave after it.

        Refused when some workload could run nowhere else, unless `force`: it then runs on there until it can.
        """
        return self._move("drain", node=node, reason=reason, force=force, dry_run=dry_run)

    def undrain(self, node: str) -> dict[str, Any]:
        """`node` may be given workloads again."""
        return self._move("undrain", node=node)

    # -- who belongs to the cluster -------------------------------------------------------------------------

    def remove_node(self, node: str, *, reason: str = "", dry_run: bool = False) -> dict[str, Any]:
        """Take `node` out of the cluster for good. Refused where that would cost the quorum.

        Returns {"node", "cause", "before", "after", "voters"}: the arithmetic before and after, and the voters then.
        """
        return self._move("node_remove", node=node, reason=reason, dry_run=dry_run)

    def promote_node(self, node: str, *, reason: str = "", dry_run: bool = False) -> dict[str, Any]:
        """Make the observer `node` a voter. Returns as `remove_node` does."""
        return self._move("node_promote", node=node, reason=reason, dry_run=dry_run)

    def admit_node(self, node: str, *, reason: str = "") -> dict[str, Any]:
        """Let a removed node in again, as an observer. Returns as `remove_node` does."""
        return self._move("node_admit", node=node, reason=reason)

    def _read(self, method: str, **params: Any) -> dict[str, Any]:
        return self._lines.once(method, _given(params), changes=False)

    def _move(self, method: str, **params: Any) -> dict[str, Any]:
        return self._lines.once(method, {**_given(params), "operator": operator_name()}, changes=True)


def _given(params: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}
