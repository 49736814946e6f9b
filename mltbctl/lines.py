"""The calls of one client, from any number of threads: asked once, or until the answer is definite.

All clients of a process that know the same daemons share a connection (`hub.py`). A change is numbered, so a repeat
changes nothing twice.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from mltbctl import hub as hubs
from mltbctl.errors import MltbError, Timeout, UnknownOutcome
from mltbctl.settling import ANSWERED, FORGOTTEN, PAUSE_S, PAUSE_S_MAX, Settling, answer_in, introduction, told_of
from mltbctl.steps import Ask, Retreat, Steps

if TYPE_CHECKING:
    from mltb_transport.calls import Call
    from mltb_transport.channel import Channel
    from mltbctl.lock_asking import Stop

RETREAT_S = 1.0
T = TypeVar("T")


class Lines:
    """One client's way to the daemons, opened when it is needed. For any number of threads."""

    def __init__(self, nodes: tuple[str, ...], secret: str | None, timeout_s: float, config: str) -> None:
        self.timeout_s = timeout_s
        self.endpoints: list[str] = []
        self.connected_to = ""
        self.met = False
        """Whether any daemon ever answered. One that was there before is waited for; one that never was is not."""
        self.stop: Stop | None = None
        """What may interrupt a call that has a retreat, and at no other moment."""
        self._known = (nodes, secret, config)
        self._mutex = threading.Lock()
        self._hub: hubs.Hub | None = None

    def hub(self) -> hubs.Hub:
        """What this client shares with others of this process; another one after a fork."""
        hub = self._hub
        if hub is not None and hub.pid == os.getpid():
            return hub
        if hub is not None:
            self._mutex = threading.Lock()  # Whoever held it stayed behind.
            self._hub = None
        with self._mutex:
            if self._hub is None:
                self._hub = hubs.enter(*self._known)
            return self._hub

    def close(self) -> None:
        """Hang up where no other client uses the connection; calls under way are answered first. A later call opens
        it anew."""
        self.connected_to = ""
        hub = self._hub
        if hub is None or hub.pid != os.getpid():
            return
        with self._mutex:
            hub, self._hub = self._hub, None
        if hub is not None:
            hubs.leave(hub)

    def once(self, method: str, params: dict[str, Any], *, changes: bool) -> dict[str, Any]:
        """The answer to one call. What carries no number of its own is repeated only where nothing was done and that
        passes: after `unavailable`, and a change while no leader is known, as in a failover."""
        deadline, pause_s = time.monotonic() + self.timeout_s, PAUSE_S
        hub = self.hub()
        with hub.free.one(deadline - time.monotonic()) as mine:
            _must(mine)
            while True:
                try:
                    return self._once(hub, method, params, changes, deadline)
                except MltbError as error:
                    passes = error.code == "unavailable" or (changes and error.code == "no_quorum")
                    if not passes or time.monotonic() + pause_s >= deadline:
                        raise
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, PAUSE_S_MAX)

    def _once(
        self, hub: hubs.Hub, method: str, params: dict[str, Any], changes: bool, deadline: float
    ) -> dict[str, Any]:
        """The answer to the only try that leaves this machine; what only reads is repeated when the line was cut, and
        elsewhere when it has gone silent."""
        from mltb_transport import control
        from mltb_transport.calls import request

        known, cut, lost = hub.channel is not None, False, 0
        while True:
            call, channel = request(method, params), None
            call.stays, call.patience = changes, hub.patience(lost)
            try:
                channel = self._try(hub, call, deadline, self.timeout_s)
                return answer_in(call, method, params)
            except control.CallTimeout as error:
                hub.turn_away(channel)
                if changes:
                    hint = "run `mltbctl status` to see whether it did"
                    why = f"no answer within {self.timeout_s:g} s; it may still happen"
                    raise UnknownOutcome(why, hint) from error
                if time.monotonic() >= deadline:
                    raise told_of(error, self.timeout_s) from error
                lost += 1
            except control.Unreachable as error:
                if changes and error.sent:
                    raise UnknownOutcome(error.message, error.hint) from error
                if cut or not (known or error.sent):
                    raise told_of(error, self.timeout_s) from error
                cut = True
            except control.ControlError as error:
                raise told_of(error, self.timeout_s) from error

    def play(self, steps: Steps[T]) -> T:
        """What the steps come to, when each is settled."""
        try:
            ask = next(steps)
            while True:
                try:
                    answer = self.settle(ask)
                except MltbError as error:
                    ask = steps.throw(error)
                else:
                    ask = steps.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result

    def settle(self, ask: Ask) -> dict[str, Any]:
        """The definite answer, asked for again and elsewhere until it is there or the timeout has passed.

        `ask.wait_s`: how long the daemon is asked to wait by the parameters; it comes on top. `ask.retreat`: what to
        do when the caller is interrupted meanwhile. UnknownOutcome only when a change may have been made and no
        repeat could find out.
        """
        allowed_s = self.allowed_s(ask)
        deadline = time.monotonic() + allowed_s
        hub = self.hub()
        if ask.wait_s:
            with hub.patient.one(deadline - time.monotonic()) as mine:
                _must(mine)
                return self._permitted(hub, ask, deadline, allowed_s)
        return self._permitted(hub, ask, deadline, allowed_s)

    def _permitted(self, hub: hubs.Hub, ask: Ask, deadline: float, allowed_s: float) -> dict[str, Any]:
        with hub.free.one(deadline - time.monotonic()) as mine:
            _must(mine)
            return self._settled(hub, ask, deadline, allowed_s)

    def allowed_s(self, ask: Ask) -> float:
        """How long it may take in all."""
        return (self.timeout_s if ask.timeout_s is None else ask.timeout_s) + ask.wait_s

    def kept_s(self, ask: Ask) -> float:
        """Of that, what is kept back for giving up a wait."""
        if ask.retreat is None or not ask.wait_s:
            return 0.0
        return min(RETREAT_S, (self.allowed_s(ask) - ask.wait_s) / 2)

    def _settled(self, hub: hubs.Hub, ask: Ask, deadline: float, allowed_s: float) -> dict[str, Any]:
        if not ask.changes:
            reading = Settling(self, hub, ask.method, ask.params, None)
            return self._run(reading.within(deadline, allowed_s, ask.wait_s))
        try:
            return self._change(hub, hub.row(), ask, deadline, allowed_s)
        except MltbError as error:
            if error.code != FORGOTTEN:
                raise
        return self._change(hub, hubs.Row(), ask, deadline, allowed_s)

    def _change(self, hub: hubs.Hub, row: hubs.Row, ask: Ask, deadline: float, allowed_s: float) -> dict[str, Any]:
        """The next of this row. Until it has its name there is nothing of it to retreat from."""
        name: hubs.Name | None = None
        stop = self.stop if ask.retreat is not None else None
        try:
            if stop is not None:
                stop.arm()
            introducing = introduction(self, hub, row, ask, deadline, allowed_s)
            if introducing is not None:
                self._run(introducing)
            name = row.next()
            answer = self._changed(hub, name, ask, deadline, allowed_s)
            if stop is not None:
                stop.disarm()
        except MltbError as error:
            # Without a definite answer no higher number may follow: the row is forgotten.
            if error.code in ANSWERED:
                hub.rest(row)
            raise
        except BaseException:
            if ask.retreat is not None and (name is not None or ask.retreat.begun):
                self._retreat(hub, name, ask, ask.retreat)
            raise
        finally:
            if stop is not None:
                stop.disarm()
        hub.rest(row)
        return answer

    def _changed(self, hub: hubs.Hub, name: hubs.Name, ask: Ask, deadline: float, allowed_s: float) -> dict[str, Any]:
        """A wait without a definite answer is given up like one that is interrupted: else nobody would stand in line,
        and get the lock. What that finds out is the answer. Time is kept back for it."""
        kept_s = self.kept_s(ask)
        changing = Settling(self, hub, ask.method, ask.params, name).within(deadline - kept_s, allowed_s, ask.wait_s)
        try:
            return self._run(changing)
        except UnknownOutcome:
            if ask.retreat is None or not kept_s:
                raise
            with suppress(MltbError):
                return self._run(giving_up(self, hub, name, ask, ask.retreat, kept_s))
            raise

    def _run(self, settling: Settling) -> dict[str, Any]:
        from mltb_transport.control import ControlError

        while True:
            channel: Channel | None = None
            try:
                call = settling.call()
                channel = self._try(settling.hub, call, settling.until, settling.share_s)
                return settling.answer(call)
            except (ControlError, MltbError) as error:
                pause_s = settling.failed(error, channel)
            time.sleep(pause_s)

    def _try(self, hub: hubs.Hub, call: Call, deadline: float, share_s: float) -> Channel:
        """One try, through the connection that there is or a new one."""
        while True:
            try:
                channel, until = hub.open(deadline, share_s)
            finally:
                self.endpoints = hub.endpoints
            if channel.ask(call, until):
                break
        self.answered(call, channel)
        hub.close_if_idle()
        return channel

    def answered(self, call: Call, channel: Channel) -> None:
        """A try is over."""
        if call.done and call.trouble is None:
            self.met = True
            self.connected_to = channel.endpoint

    def _retreat(self, hub: hubs.Hub, name: hubs.Name | None, ask: Ask, retreat: Retreat) -> None:
        """After an interruption of `settle`: end what it began, if that can be done quickly. What undoes it has a row
        of its own: that of a change without an answer is used up."""
        until, made = time.monotonic() + RETREAT_S, dict[str, Any]()
        with suppress(MltbError):  # It ends by its own time limits.
            if name is not None and not retreat.begun:
                made = self._run(giving_up(self, hub, name, ask, retreat))
            undo = retreat.undo(made)
            if undo is not None:
                self._run(Settling(self, hub, *undo, hubs.Row().next()).within(until, RETREAT_S, 0.0))


def giving_up(
    lines: Lines, hub: hubs.Hub, name: hubs.Name, ask: Ask, retreat: Retreat, allowed_s: float = RETREAT_S
) -> Settling:
    """The same change once more, as `retreat` says."""
    settling = Settling(lines, hub, ask.method, {**ask.params, **retreat.params}, name)
    return settling.within(time.monotonic() + allowed_s, allowed_s, 0.0)


def _must(mine: bool) -> None:
    """Have a permit."""
    if not mine:
        raise Timeout("too many calls are under way and none ended in time", "use fewer threads at once")
