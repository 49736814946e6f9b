"""How a call is tried again and elsewhere until its answer is definite, and what is said when none can be had.

Every failure of the transport becomes an MltbError here, and only here. Nothing in here waits.
"""

from __future__ import annotations

import time
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

if TYPE_CHECKING:
    from mltb_transport.calls import Call
    from mltb_transport.channel import Channel
    from mltb_transport.control import ControlError
    from mltbctl.bundling import Command
    from mltbctl.hub import Hub, Name, Row
    from mltbctl.lines import Lines
    from mltbctl.steps import Ask

ATTEMPT_S = 1.5
"""How long one of several endpoints may take to answer before the next is asked; longer when each was asked twice."""
PAUSE_S, PAUSE_S_MAX = 0.02, 0.3
FIRST_S = 10.0
"""For so long a client's first number may be repeated once it may have been done. A state that has forgotten the client
would do it once more, and forgets it when 10,000 others have sent something since: no cluster takes in so many new ones
in that time. So where more time is given, the first number changes nothing (`introduction`): of what follows a
forgotten client is told. A wait may take longer: who stands in line is not forgotten."""
_VERSION_OF_NOTHING, _LOCK_OF_NOBODY = 2**62, "nobody"

_FAILURES: dict[str, type[MltbError]] = {
    kind.code: kind for kind in (AuthenticationFailed, NoQuorum, Refused, Timeout, UnknownOutcome, Unreachable)
}
_PASSING = frozenset({"no_quorum", "unavailable", "overloaded", "unknown_outcome"})
"""Answers that another try, or another node, may better."""
ANSWERED = frozenset({"refused", "full"})
"""Refusals that come out of the log, under the number that was sent."""
FORGOTTEN = "forgotten"
"""The refusal to a client that the state does not know. Told only of a number that was not done: under another name it
may be asked for again."""
OFF = "off"
"""What one node alone refuses, whatever became of the number elsewhere; a refusal as any other for who is told."""
OFF_HINT = "ask another node with `--node`, or set it to true in the configuration of this one"


class Settling:
    """One call on its way to a definite answer. Ask with `call` and `share_s`, tell what `failed`, pause, ask again."""

    def __init__(
        self, lines: Lines, hub: Hub, method: str, params: dict[str, Any], name: Name | None, *, changes: bool = True
    ) -> None:
        """`name`: of a change. `changes`: whether it matters to anybody that it was done."""
        self.hub = hub
        self._lines = lines
        self._method = method
        self._params = params
        self._name = name
        self._changes = changes
        self._command: Command | None = None
        self._maybe_done = False
        self._lost, self._patience = 0, 1.0
        self._pause_s = PAUSE_S
        self._allowed_s = 0.0
        self._wait_s = self._wait_until = 0.0
        self.until = 0.0
        self.share_s = ATTEMPT_S

    def within(self, deadline: float, allowed_s: float, wait_s: float) -> Settling:
        """`allowed_s` in all, of which the daemon is asked to wait `wait_s`."""
        self.until, self._allowed_s = deadline, allowed_s
        self._wait_s, self._wait_until = wait_s, time.monotonic() + wait_s
        self.share_s = wait_s + ATTEMPT_S
        return self

    def call(self) -> Call:
        """What to send now."""
        from mltb_transport.calls import command, read, request

        if self._name is not None:
            from mltbctl.bundling import body_of, command_of

            if self._command is None:
                self._command = command_of(self._method, self._params)
            call = command(*self._name, body_of(self._method, self._command, *self._name))
        elif self._method == "state_get" and self._params.keys() == {"key"} and isinstance(self._params["key"], str):
            call = read(self._params["key"])
        else:
            call = request(self._method, self._params)
        call.patience = self._patience
        return call

    def answer(self, call: Call) -> dict[str, Any]:
        """What is in its answer. ControlError when it is none."""
        return answer_in(call, self._method, self._params)

    def failed(self, trouble: ControlError | MltbError, channel: Channel | None) -> float:
        """The seconds to pause before the next try. Raises what is to be said when there is to be none."""
        self._maybe_done = self._maybe_done or _may_be_done(trouble)
        told = trouble if isinstance(trouble, MltbError) else told_of(trouble, self._allowed_s)
        pause_s, self._pause_s = self._pause_s, min(2 * self._pause_s, PAUSE_S_MAX)
        if self._may_pass(trouble):
            self._turn_away(trouble, channel)
            if time.monotonic() + pause_s < self.until:
                self._next_try(trouble, pause_s)
                return pause_s
        # Only an answer out of the log says what became of the number; any other is about this try alone.
        unsure = self._changes and self._maybe_done and getattr(trouble, "code", "") not in ANSWERED
        if unsure and self._name is not None:
            why = f"`{_typed(self._method)}` may or may not have taken effect: {told.message}"
            raise _unknown(why, self._params, self._name) from trouble
        if isinstance(told, UnknownOutcome):  # Of what changes nothing.
            told = _no_answer(self._allowed_s)
        if told is trouble:
            raise told
        raise told from trouble

    def _next_try(self, trouble: ControlError | MltbError, pause_s: float) -> None:
        """The daemon is asked to wait for what is left: the caller's wait goes on, it does not begin anew. Who got no
        answer at all has more patience now; with a daemon that others could stand in for only when each had two turns:
        in a failover the next one may know more."""
        from mltb_transport.control import CallTimeout

        self._lost += isinstance(trouble, CallTimeout)
        self._patience = self.hub.patience(self._lost)
        left_s = 0.0
        if self._wait_s:
            left_s = max(0.0, self._wait_until - time.monotonic() - pause_s)
            self._params, self._command = {**self._params, "wait": left_s}, None
        self.share_s = left_s + max(1.0, self._patience / 2) * ATTEMPT_S

    def _turn_away(self, trouble: ControlError | MltbError, channel: Channel | None) -> None:
        """The next try goes elsewhere, be it of another call: where there is no other daemon, by another connection.
        Who answered is left alone then."""
        from mltb_transport.control import CallFailed

        if len(self.hub.endpoints) > 1 or not isinstance(trouble, CallFailed):
            self.hub.turn_away(channel)

    def _may_pass(self, trouble: ControlError | MltbError) -> bool:
        """Whether another try may find out more."""
        from mltb_transport import control

        if isinstance(trouble, control.CallFailed):
            return trouble.code in _PASSING
        if isinstance(trouble, control.CallTimeout):
            return True
        away = isinstance(trouble, Unreachable | control.Unreachable)
        return away and (self._lines.met or self._maybe_done)


def introduction(lines: Lines, hub: Hub, row: Row, ask: Ask, deadline: float, allowed_s: float) -> Settling | None:
    """What makes a new row known to the state, to be settled before the change itself begins. None where that may come
    first: see FIRST_S."""
    if row.number or ask.wait_s or allowed_s <= FIRST_S:
        return None
    nothing = Settling(lines, hub, *_changing_nothing(ask.params), row.next(), changes=False)
    return nothing.within(deadline, allowed_s, 0.0)


def _changing_nothing(params: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Method and parameters, of the same kind: one node may refuse locks or state."""
    if "key" in params:
        return "state_delete", {"key": params["key"], "if_version": _VERSION_OF_NOTHING}
    return "lock_release", {"name": params["name"], "lock_id": _LOCK_OF_NOBODY}


def _unknown(why: str, params: dict[str, Any], named: Name) -> UnknownOutcome:
    """It names the change by what every daemon knows it by: a repeat under that name is done once, whoever sends it."""
    name = f"{named[0]}/{named[1]}"
    look = f"state get {params['key']}" if "key" in params else f"lock show {params['name']}"
    hint = f"run `mltbctl {look}` to see whether it did, before you try again"
    return UnknownOutcome(f"{why} (operation {name})", hint, details={"operation": name})


def answer_in(call: Call, method: str, params: dict[str, Any]) -> dict[str, Any]:
    """What is in the answer to a call. ControlError when it is none."""
    from mltb_transport.answers import result
    from mltb_transport.control import CallFailed, CallTimeout

    if call.trouble is not None:
        raise call.trouble
    if not call.done:
        raise CallTimeout(f"no answer to `{_typed(method)}` in time", "try again with a longer `--timeout`")
    if type(call.key) is int:
        try:
            return result(call.answer)
        except CallFailed as error:
            error.message = error.message.removeprefix(f"`{method}`: ")  # Who asked knows, by another name.
            raise
    from mltbctl.bundling import answer_of

    return answer_of(method, params, call.answer)


def _typed(method: str) -> str:
    """What is typed for it on the command line."""
    return method.replace("_", " ", 1)


def _may_be_done(trouble: ControlError | MltbError) -> bool:
    """Whether the try that failed so may have taken effect all the same."""
    from mltb_transport import control

    if isinstance(trouble, control.CallFailed):
        return trouble.code == "unknown_outcome"
    return isinstance(trouble, control.CallTimeout) or (isinstance(trouble, control.Unreachable) and trouble.sent)


def told_of(error: ControlError, allowed_s: float) -> MltbError:
    """The failure in our words."""
    from mltb_transport import control

    if isinstance(error, control.CallTimeout):
        return _no_answer(allowed_s)
    if isinstance(error, control.Denied):
        hint = "run `mltbctl secret show` to see which secret was used, and from where"
        return AuthenticationFailed(error.message, hint)
    if isinstance(error, control.CallFailed):
        if error.code == OFF:
            return Refused(error.message, OFF_HINT)
        kind = _FAILURES.get(error.code, MltbError)
        details = {key: value for key, value in error.body.items() if key not in ("code", "message", "hint")}
        return kind(error.message, error.hint, code=error.code, details=details)
    return Unreachable(error.message, error.hint)


def _no_answer(allowed_s: float) -> Timeout:
    hint = "see whether mltbd is well there, or give it longer with `--timeout`"
    return Timeout(f"no answer within {allowed_s:g} s", hint)
