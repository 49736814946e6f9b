"""Lines to the daemons: each carries one call at a time and numbers its changes; a repeat changes nothing twice.

Every failure of the transport becomes an MltbError here, and only here.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mltbctl.errors import (
    AuthenticationFailed,
    MltbError,
    NoQuorum,
    Refused,
    Timeout,
    UnknownOutcome,
    Unreachable,
)
from mltbctl.settings import endpoint_of, find_secret, is_local, local_sockets, named_nodes

if TYPE_CHECKING:
    from mltb_transport.control import ControlConnection, ControlError
    from mltb_transport.keys import Credential

LINES_MAX = 64
"""Calls under way at once; one more waits for a free line, within its timeout."""
PATIENT_MAX = 48
"""Of these, how many may wait at the daemon for a lock or a change: a release must never wait for them."""
ATTEMPT_S = 1.5
"""How long one of several endpoints may take to answer before the next is asked."""
RETREAT_S = 1.0
PAUSE_S, PAUSE_S_MAX = 0.02, 0.3
CLIENT_ID_BYTES = 12

_FAILURES: dict[str, type[MltbError]] = {
    kind.code: kind for kind in (AuthenticationFailed, NoQuorum, Refused, Timeout, UnknownOutcome, Unreachable)
}
_PASSING = frozenset({"no_quorum", "unavailable", "overloaded", "unknown_outcome"})
"""Answers that another try, or another node, may better."""
_ANSWERED = frozenset({"refused", "full"})
"""Refusals that come out of the log, under the number that was sent."""


@dataclass(frozen=True, slots=True)
class Retreat:
    """How a wait is given up early: the same change once more with `params` over its own, and, where it was made all
    the same, the change that undoes it (method and parameters)."""

    params: dict[str, Any]
    undo: Callable[[dict[str, Any]], tuple[str, dict[str, Any]] | None]


class Lines:
    """The lines of one client, opened when they are needed. For any number of threads."""

    def __init__(self, nodes: tuple[str, ...], secret: str | None, timeout_s: float, config: str) -> None:
        self.timeout_s = timeout_s
        self.endpoints: list[str] = []
        self.connected_to = ""
        self.keys: list[Credential | None] = [None]
        self.met = False
        """Whether any daemon ever answered. One that was there before is waited for; one that never was is not."""
        self._nodes = nodes
        self._secret = secret
        self._config = config
        self._idle: list[Line] = []
        self._mutex = threading.Lock()
        self._free = threading.BoundedSemaphore(LINES_MAX)
        self._patient = threading.BoundedSemaphore(PATIENT_MAX)
        self._generation = 0

    def close(self) -> None:
        """Hang up; a line that is in use is closed when its call ends. A later call opens a new one."""
        with self._mutex:
            self._generation += 1
            idle, self._idle = self._idle, []
            self.connected_to = ""
        for line in idle:
            line.close()

    def once(self, method: str, params: dict[str, Any], *, changes: bool) -> dict[str, Any]:
        """The answer to one call. What carries no number of its own is repeated only after `unavailable`: nothing was
        done, and that passes."""
        deadline, pause_s = time.monotonic() + self.timeout_s, PAUSE_S
        with self._line(deadline) as line:
            while True:
                try:
                    return line.once(method, params, changes, deadline)
                except MltbError as error:
                    if error.code != "unavailable" or time.monotonic() + pause_s >= deadline:
                        raise
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, PAUSE_S_MAX)

    def settle(
        self,
        method: str,
        params: dict[str, Any],
        *,
        changes: bool,
        timeout_s: float | None = None,
        wait_s: float = 0.0,
        retreat: Retreat | None = None,
    ) -> dict[str, Any]:
        """The definite answer, asked for again and elsewhere until it is there or the timeout has passed.

        `wait_s`: how long the daemon is asked to wait by `params`; it comes on top. `retreat`: what to do when the
        caller is interrupted meanwhile. UnknownOutcome only when a change may have been made and no repeat could
        find out.
        """
        allowed_s = (self.timeout_s if timeout_s is None else timeout_s) + wait_s
        deadline = time.monotonic() + allowed_s
        with _one_of(self._patient, deadline) if wait_s else nullcontext(), self._line(deadline) as line:
            try:
                return line.settle(method, params, changes, deadline, allowed_s, wait_s)
            except MltbError:
                raise
            except BaseException:
                if retreat is not None:
                    line.retreat(method, params, retreat)
                raise

    def connect(self, turn: int, key: int) -> ControlConnection:
        """A new connection; `turn` says how many of the endpoints have had their turn, `key` how many of the keys."""
        from mltb_transport.control import ControlConnection

        nodes = named_nodes(self._nodes, os.environ)
        endpoints = [endpoint_of(node) or self._member(node) for node in nodes]
        if not endpoints:
            endpoints = local_sockets(os.environ)
        self.endpoints = endpoints
        self.keys = self._keys() if any(not is_local(end) for end in endpoints) else [None]
        first = turn % len(endpoints)
        credential = self.keys[key % len(self.keys)]
        return ControlConnection(endpoints[first:] + endpoints[:first], credential, self.timeout_s)

    @contextmanager
    def _line(self, deadline: float) -> Iterator[Line]:
        with _one_of(self._free, deadline):
            with self._mutex:
                generation = self._generation
                line = self._idle.pop() if self._idle else Line(self)
            try:
                yield line
            finally:
                with self._mutex:
                    keep = generation == self._generation
                    if keep:
                        self._idle.append(line)
                        self.connected_to = line.connected_to or self.connected_to
                if not keep:
                    line.close()

    def _keys(self) -> list[Credential | None]:
        """What may open a daemon elsewhere, best first; never empty. Two while the secret is being changed."""
        from mltb_transport.access import credential_of
        from mltb_transport.keys import SecretError

        if self._secret is not None:
            texts = [self._secret]
        else:
            found = find_secret(self._config, os.environ)
            if found is None:
                return [None]
            texts = [text for text in (found.text, found.other) if text]
        try:
            return [credential_of(text) for text in texts]
        except SecretError as error:
            raise AuthenticationFailed(error.message, error.hint) from error

    def _member(self, node: str) -> str:
        sockets = local_sockets(os.environ)
        for path in sockets:
            if path.endswith(f"/{node}.sock"):
                return path
        local = Lines(tuple(sockets), None, self.timeout_s, "")
        try:
            members = {member["id"]: member for member in local.once("status", {}, changes=False)["nodes"]}
        finally:
            local.close()
        if node not in members:
            known = ", ".join(f"`{name}`" for name in sorted(members))
            raise MltbError(f"`{node}` is no member, known are {known}", "run `mltbctl nodes`", code="usage")
        host = members[node]["address"]
        return f"{f'[{host}]' if ':' in host else host}:{members[node]['port'] + 1}"


@contextmanager
def _one_of(permits: threading.BoundedSemaphore, deadline: float) -> Iterator[None]:
    if not permits.acquire(timeout=max(0.0, deadline - time.monotonic())):
        raise Timeout("too many calls are under way and none ended in time", "use fewer threads at once")
    try:
        yield
    finally:
        permits.release()


class Line:
    """One connection and one row of numbered changes. For one thread at a time."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._connection: ControlConnection | None = None
        self._turn = 0
        self._key = 0
        self._client = ""
        self._number = 0
        self._interrupted = ("", 0)
        self._begin_anew()

    @property
    def connected_to(self) -> str:
        return self._connection.connected_to if self._connection is not None else ""

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def once(self, method: str, params: dict[str, Any], changes: bool, deadline: float) -> dict[str, Any]:
        """The answer to the only try that leaves this machine; a line that was cut meanwhile is opened anew."""
        from mltb_transport import control

        allowed_s = self._lines.timeout_s
        before = self._connection
        try:
            try:
                return self._ask(method, params, deadline - time.monotonic())
            except control.Unreachable as error:
                if error.sent or before is None:
                    raise
                self.close()
                return self._ask(method, params, deadline - time.monotonic())
        except control.CallTimeout as error:
            if not changes:
                raise _told(error, allowed_s) from error
            hint = "run `mltbctl status` to see whether it did"
            raise UnknownOutcome(f"no answer within {allowed_s:g} s; it may still happen", hint) from error
        except control.ControlError as error:
            if changes and isinstance(error, control.Unreachable) and error.sent:
                raise UnknownOutcome(error.message, error.hint) from error
            raise _told(error, allowed_s) from error

    def settle(
        self, method: str, params: dict[str, Any], changes: bool, deadline: float, allowed_s: float, wait_s: float
    ) -> dict[str, Any]:
        """As Lines.settle. Afterwards the number is answered, or will never be followed."""
        if not changes:
            return self._settle(method, params, deadline, allowed_s, wait_s, numbered=False)
        self._number += 1
        try:
            return self._settle(method, params, deadline, allowed_s, wait_s, numbered=True)
        except MltbError as error:
            # Without a definite answer no higher number may follow: begin another row.
            if error.code not in _ANSWERED:
                self._begin_anew()
            raise
        except BaseException:
            self._interrupted = (self._client, self._number)
            self._begin_anew()
            raise

    def retreat(self, method: str, params: dict[str, Any], retreat: Retreat) -> None:
        """After an interruption of `settle`: end what it began, if that can be done quickly."""
        self._client, self._number = self._interrupted
        deadline = time.monotonic() + RETREAT_S
        try:
            answer = self._settle(method, {**params, **retreat.params}, deadline, RETREAT_S, 0.0, numbered=True)
            undo = retreat.undo(answer)
            if undo is not None:
                self._number += 1
                self._settle(*undo, deadline, RETREAT_S, 0.0, numbered=True)
        except MltbError:
            return  # It ends by its own time limits.
        finally:
            self._begin_anew()

    def _settle(
        self,
        method: str,
        params: dict[str, Any],
        deadline: float,
        allowed_s: float,
        wait_s: float,
        *,
        numbered: bool,
    ) -> dict[str, Any]:
        from mltb_transport import control

        maybe_done = False
        pause_s = PAUSE_S
        while True:
            sent = {**params, "client": self._client, "seq": self._number} if numbered else params
            try:
                return self._ask(method, sent, deadline - time.monotonic(), wait_s + ATTEMPT_S)
            except (control.ControlError, Unreachable) as error:
                trouble = error
            maybe_done = maybe_done or _may_be_done(trouble)
            told = trouble if isinstance(trouble, Unreachable) else _told(trouble, allowed_s)
            if told.code == "forgotten" and not maybe_done:
                self._begin_anew()
                self._number = 1
            elif not self._may_pass(trouble, maybe_done):
                break
            if time.monotonic() + pause_s >= deadline:
                break
            if told.code != "forgotten":
                self._turn_away()
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, PAUSE_S_MAX)
        # Only an answer out of the log says what became of the number; any other is about this try alone.
        if numbered and maybe_done and told.code not in _ANSWERED:
            why = f"`{method}` may or may not have taken effect: {told.message}"
            raise UnknownOutcome(why, "look at the state before you try again") from trouble
        raise told from trouble

    def _may_pass(self, trouble: ControlError | Unreachable, maybe_done: bool) -> bool:
        """Whether another try may find out more."""
        from mltb_transport import control

        if isinstance(trouble, control.CallFailed):
            return trouble.code in _PASSING
        if isinstance(trouble, control.CallTimeout):
            return True
        return not isinstance(trouble, control.Denied) and (self._lines.met or maybe_done)

    def _ask(self, method: str, params: dict[str, Any], timeout_s: float, share_s: float = math.inf) -> dict[str, Any]:
        """One try, with each key that there is. `share_s`: how long one endpoint may take where there are others."""
        from mltb_transport.control import Denied

        left = -1
        while True:
            if self._connection is None:
                self._connection = self._lines.connect(self._turn, self._key)
            left = len(self._lines.keys) - 1 if left < 0 else left - 1
            seconds = min(timeout_s, share_s) if len(self._lines.endpoints) > 1 else timeout_s
            try:
                answer = self._connection.call(method, params, max(0.0, seconds))
            except Denied:  # Nothing was sent.
                if not left:
                    raise
                self.close()
                self._key += 1
                continue
            self._lines.met = True
            return answer

    def _turn_away(self) -> None:
        """The next try goes to another endpoint, where there is one."""
        self.close()
        self._turn += 1

    def _begin_anew(self) -> None:
        self._client = os.urandom(CLIENT_ID_BYTES).hex()
        self._number = 0


def _may_be_done(trouble: ControlError | Unreachable) -> bool:
    """Whether the try that failed so may have taken effect all the same."""
    from mltb_transport import control

    if isinstance(trouble, control.CallFailed):
        return trouble.code == "unknown_outcome"
    return isinstance(trouble, control.CallTimeout) or (isinstance(trouble, control.Unreachable) and trouble.sent)


def _told(error: ControlError, allowed_s: float) -> MltbError:
    """The failure in our words."""
    from mltb_transport import control

    if isinstance(error, control.CallTimeout):
        hint = "see whether mltbd is well there, or give it longer with `--timeout`"
        return Timeout(f"no answer within {allowed_s:g} s", hint)
    if isinstance(error, control.Denied):
        hint = "run `mltbctl secret show` to see which secret was used, and from where"
        return AuthenticationFailed(error.message, hint)
    if isinstance(error, control.CallFailed):
        kind = _FAILURES.get(error.code, MltbError)
        details = {key: value for key, value in error.body.items() if key not in ("code", "message", "hint")}
        return kind(error.message, error.hint, code=error.code, details=details)
    return Unreachable(error.message, error.hint)
