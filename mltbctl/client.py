"""The Python SDK: Client and AsyncClient, the same calls, sync and async. Every failure is an MltbError.

with Client() as node:                                   # the daemon of this machine
    node.status()["cluster"]["leader"]
Client("10.0.1.10:7947", "10.0.1.11:7947", secret=...)   # control ports of other machines, tried in turn
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

from mltbctl.errors import (
    AuthenticationFailed,
    MltbError,
    NoQuorum,
    Refused,
    Timeout,
    UnknownOutcome,
    Unreachable,
)
from mltbctl.operator_name import operator_name
from mltbctl.settings import TIMEOUT_S, TIMEOUT_S_MAX, endpoint_of, find_secret, is_local, local_sockets, named_nodes

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from mltb_transport.control import CallFailed, ControlConnection
    from mltb_transport.keys import Credential

__all__ = [
    "AsyncClient",
    "AuthenticationFailed",
    "Client",
    "MltbError",
    "NoQuorum",
    "Refused",
    "Timeout",
    "UnknownOutcome",
    "Unreachable",
]

_T = TypeVar("_T")
_FAILURES: dict[str, type[MltbError]] = {
    kind.code: kind for kind in (AuthenticationFailed, NoQuorum, Refused, Timeout, UnknownOutcome, Unreachable)
}
_CHANGING = frozenset({"failover", "switchover", "failback", "failback_cancel"})


class Client:
    """A line to one daemon, opened by the first call. Not to be shared between threads.

    `nodes`: socket paths, `host:port` of control ports, or ids of members the local daemon knows; each is a
    fall-back of the one before. None given: `$MLTB_NODE`, `$MLTB_SOCKET`, else the daemon of this machine.
    `secret` is needed over TCP only; None looks in `$CLUSTER_SECRET`, `$CLUSTER_SECRET_FILE` and the
    configuration file (`config`, else its usual place). `timeout`: seconds a call may take.
    """

    def __init__(self, *nodes: str, secret: str | None = None, timeout: float = TIMEOUT_S, config: str = "") -> None:
        if not 0 < timeout <= TIMEOUT_S_MAX:
            raise ValueError(f"timeout of {timeout} s is not within 0 and {TIMEOUT_S_MAX:.0f} s")
        self._nodes = nodes
        self._secret = secret
        self._timeout_s = timeout
        self._config = config
        self._connection: ControlConnection | None = None
        self._endpoints: list[str] = []

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up; a later call opens a new line. Safe to repeat."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Where the line may lead, best first. Empty before the first call."""
        return tuple(self._endpoints)

    @property
    def connected_to(self) -> str:
        """The endpoint that answered last; empty before the first call."""
        return self._connection.connected_to if self._connection is not None else ""

    # -- what only reads ------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """The whole picture as this node sees it: the dict of `mltbctl status -o json` without `schema`."""
        return self._call("status")

    def nodes(self) -> list[dict[str, Any]]:
        """The members, as in `status()["nodes"]`."""
        return cast("list[dict[str, Any]]", self.status()["nodes"])

    def ping(self) -> dict[str, Any]:
        """Who answers: {"node", "version"}."""
        return self._call("ping")

    def is_(self, what: str, node: str | None = None) -> bool | None:
        """Is `node` (None: the one asked) leader, primary, healthy, paused or quorate? None: cannot tell."""
        return cast("bool | None", self.verdict(what, node)["answer"])

    def verdict(self, what: str, node: str | None = None) -> dict[str, Any]:
        """The answer to `is_` with its reason: {"answer": bool or None, "reason"}."""
        return self._call("is", what=what, node=node)

    def health(self, *, run: bool = False) -> dict[str, Any]:
        """What this node's checks say: the dict of `mltbctl health -o json`. `run`: after running them all now."""
        return self._call("health", run=run)

    def operation(self, operation: int) -> dict[str, Any]:
        """How far a move is: state (running, done, failed), phases with seconds, downtime, token, owner."""
        return self._call("operation", id=operation)

    def events(self, **choice: Any) -> dict[str, Any]:
        """A page of the history: {"events", "last", "more"}; the next page is the one `after` this one's `last`.

        `choice`: `after`, `since` (wall milliseconds), `newest` (how many at most), `kind`, `workload`.
        """
        return self._call("events", **choice)

    def event(self, number: int | None = None) -> dict[str, Any]:
        """One event of the history with what belongs to its story; None: the last that mattered, or null."""
        return self._call("event", id=number)

    # -- what moves a workload ------------------------------------------------------------------------------

    def failover(
        self, workload: str = "main", *, to: str | None = None, reason: str = "", dry_run: bool = False
    ) -> dict[str, Any]:
        """Place `workload` on another node now, healthy owner or not; None lets the leader choose the best.

        Returns {"operation", "workload", "from", "to", "plan"} as soon as the move is in the log; `operation`
        is None with `dry_run`, which only plans. Refused tells the verdict on each node.
        """
        return self._call("failover", workload=workload, to=to, reason=reason, dry_run=dry_run)

    def switchover(self, to: str, workload: str = "main", *, reason: str = "", dry_run: bool = False) -> dict[str, Any]:
        """Move `workload` from its healthy owner to `to`. Returns and raises as `failover` does."""
        return self._call("switchover", workload=workload, to=to, reason=reason, dry_run=dry_run)

    def failback(self, workload: str = "main", *, reason: str = "", dry_run: bool = False) -> dict[str, Any]:
        """Move `workload` back to its preferred node. Returns and raises as `failover` does."""
        return self._call("failback", workload=workload, reason=reason, dry_run=dry_run)

    def cancel_failback(self, workload: str = "main") -> None:
        """No automatic failback of `workload` until it moves again."""
        self._call("failback_cancel", workload=workload)

    # -- the line -------------------------------------------------------------------------------------------

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        from mltb_transport import control

        if self._connection is None:
            self._connection = self._connect()
        given = {name: value for name, value in params.items() if value is not None}
        if method in _CHANGING:
            given["operator"] = operator_name()
        try:
            return self._connection.call(method, given)
        except control.CallTimeout as error:
            if method in _CHANGING:
                hint = "run `mltbctl status` to see whether it did"
                raise UnknownOutcome(f"no answer within {self._timeout_s:g} s; it may still happen", hint) from error
            raise Timeout(
                f"no answer within {self._timeout_s:g} s",
                "see whether mltbd is well there, or give it longer with `--timeout`",
            ) from error
        except control.Denied as error:
            hint = "run `mltbctl secret show` to see which secret was used, and from where"
            raise AuthenticationFailed(error.message, hint) from error
        except control.Unreachable as error:
            if error.sent and method in _CHANGING:
                raise UnknownOutcome(error.message, error.hint) from error
            raise Unreachable(error.message, error.hint) from error
        except control.CallFailed as error:
            _raise_failure(error)

    def _connect(self) -> ControlConnection:
        from mltb_transport.control import ControlConnection

        nodes = named_nodes(self._nodes, os.environ)
        endpoints = [endpoint_of(node) or self._member(node) for node in nodes]
        if not endpoints:
            endpoints = local_sockets(os.environ)
        self._endpoints = endpoints
        credential = self._credential() if any(not is_local(end) for end in endpoints) else None
        return ControlConnection(endpoints, credential, self._timeout_s)

    def _credential(self) -> Credential | None:
        from mltb_transport.keys import Keyring, SecretError

        secret = self._secret
        if secret is None:
            found = find_secret(self._config, os.environ)
            if found is None:
                return None
            secret = found.text
        try:
            return Keyring.from_secret(secret).credential("admin")
        except SecretError as error:
            raise AuthenticationFailed(error.message, error.hint) from error

    def _member(self, node: str) -> str:
        sockets = local_sockets(os.environ)
        for path in sockets:
            if path.endswith(f"/{node}.sock"):
                return path
        with Client(*sockets, timeout=self._timeout_s) as local:
            members = {member["id"]: member for member in local.nodes()}
        if node not in members:
            known = ", ".join(f"`{name}`" for name in sorted(members))
            raise MltbError(f"`{node}` is no member, known are {known}", "run `mltbctl nodes`", code="usage")
        host = members[node]["address"]
        return f"{f'[{host}]' if ':' in host else host}:{members[node]['port'] + 1}"


def _raise_failure(error: CallFailed) -> NoReturn:
    kind = _FAILURES.get(error.code, MltbError)
    details = {key: value for key, value in error.body.items() if key not in ("code", "message", "hint")}
    raise kind(error.message, error.hint, code=error.code, details=details) from error


class AsyncClient:
    """Client for a running event loop: the same calls as coroutines, one at a time, in its own thread."""

    def __init__(self, *nodes: str, secret: str | None = None, timeout: float = TIMEOUT_S, config: str = "") -> None:
        from concurrent.futures import ThreadPoolExecutor

        self._client = Client(*nodes, secret=secret, timeout=timeout, config=config)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mltb-client")

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Hang up for good, after the call under way."""
        await self._run(self._client.close)
        self._thread.shutdown(wait=False)

    async def status(self) -> dict[str, Any]:
        """As Client.status; so for each call below."""
        return await self._run(self._client.status)

    async def nodes(self) -> list[dict[str, Any]]:
        return await self._run(self._client.nodes)

    async def ping(self) -> dict[str, Any]:
        return await self._run(self._client.ping)

    async def is_(self, what: str, node: str | None = None) -> bool | None:
        return await self._run(lambda: self._client.is_(what, node))

    async def health(self, *, run: bool = False) -> dict[str, Any]:
        return await self._run(lambda: self._client.health(run=run))

    async def operation(self, operation: int) -> dict[str, Any]:
        return await self._run(lambda: self._client.operation(operation))

    async def events(self, **choice: Any) -> dict[str, Any]:
        return await self._run(lambda: self._client.events(**choice))

    async def event(self, number: int | None = None) -> dict[str, Any]:
        return await self._run(lambda: self._client.event(number))

    async def failover(
        self, workload: str = "main", *, to: str | None = None, reason: str = "", dry_run: bool = False
    ) -> dict[str, Any]:
        return await self._run(lambda: self._client.failover(workload, to=to, reason=reason, dry_run=dry_run))

    async def switchover(
        self, to: str, workload: str = "main", *, reason: str = "", dry_run: bool = False
    ) -> dict[str, Any]:
        return await self._run(lambda: self._client.switchover(to, workload, reason=reason, dry_run=dry_run))

    async def failback(self, workload: str = "main", *, reason: str = "", dry_run: bool = False) -> dict[str, Any]:
        return await self._run(lambda: self._client.failback(workload, reason=reason, dry_run=dry_run))

    async def cancel_failback(self, workload: str = "main") -> None:
        await self._run(lambda: self._client.cancel_failback(workload))

    async def _run(self, call: Callable[[], _T]) -> _T:
        import asyncio

        return await asyncio.get_running_loop().run_in_executor(self._thread, call)
