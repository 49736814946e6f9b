"""The calls of one client from an event loop: the loop itself reads the connection, and no thread waits for an answer.

What the tasks of one turn of the loop ask leaves in one frame.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from mltbctl.errors import MltbError, Timeout, UnknownOutcome, Unreachable
from mltbctl.hub import SPREAD_S, Row, too_late
from mltbctl.lines import RETREAT_S, giving_up
from mltbctl.settling import ANSWERED, FORGOTTEN, Settling, introduction
from mltbctl.steps import Ask, Retreat, Steps

if TYPE_CHECKING:
    from mltb_transport.calls import Call
    from mltb_transport.channel import Channel
    from mltbctl.hub import Hub, Name
    from mltbctl.lines import Lines
    from mltbctl.permits import Permits

PERMIT_PAUSE_S = 0.02
TELL_S = 0.1
"""How long after its time a call waits for what the thread that could not connect has to say."""
FINISH_MAX = 3
"""Beginnings of what is done to its end."""
T = TypeVar("T")


class AsyncLines:
    """As Lines, for coroutines. The connection is the same."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._readers: dict[asyncio.AbstractEventLoop, LoopReader] = {}
        self._pid = os.getpid()

    async def play(self, steps: Steps[T]) -> T:
        """What the steps come to, when each is settled."""
        try:
            ask = next(steps)
            while True:
                try:
                    answer = await self.settle(ask)
                except MltbError as error:
                    ask = steps.throw(error)
                else:
                    ask = steps.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result

    async def finish(self, whole: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Do it to its end, and only then be cancelled. A loop that ends cancels what does it as well: then it is done
        once more, from the beginning, for the loop waits for us."""
        cancelled: asyncio.CancelledError | None = None
        task, begun = asyncio.ensure_future(whole()), 1
        while not task.done():
            try:
                await asyncio.shield(task)
            except asyncio.CancelledError as error:
                cancelled = error
                if task.cancelled() and begun < FINISH_MAX:
                    task, begun = asyncio.ensure_future(whole()), begun + 1
            except MltbError:
                break
        if cancelled is not None:
            raise cancelled
        return task.result()

    async def settle(self, ask: Ask) -> dict[str, Any]:
        """As Lines.settle. When it is cancelled, what `ask.retreat` says is done first; all else is left as it is."""
        allowed_s = self._lines.allowed_s(ask)
        deadline = time.monotonic() + allowed_s
        hub = self._lines.hub()
        async with one_of(hub.patient if ask.wait_s else None, deadline), one_of(hub.free, deadline):
            if not ask.changes:
                reading = Settling(self._lines, hub, ask.method, ask.params, None)
                return await self._run(reading.within(deadline, allowed_s, ask.wait_s))
            try:
                return await self._change(hub, hub.row(), ask, deadline, allowed_s)
            except MltbError as error:
                if error.code != FORGOTTEN:
                    raise
            return await self._change(hub, Row(), ask, deadline, allowed_s)

    async def _change(self, hub: Hub, row: Row, ask: Ask, deadline: float, allowed_s: float) -> dict[str, Any]:
        """As Lines does it."""
        name: Name | None = None
        try:
            introducing = introduction(self._lines, hub, row, ask, deadline, allowed_s)
            if introducing is not None:
                await self._run(introducing)
            name = row.next()
            answer = await self._changed(hub, name, ask, deadline, allowed_s)
        except MltbError as error:
            if error.code in ANSWERED:
                hub.rest(row)
            raise
        except BaseException:
            if ask.retreat is not None and (name is not None or ask.retreat.begun):
                await self.finish(partial(self._retreat, hub, name, ask, ask.retreat))
            raise
        hub.rest(row)
        return answer

    async def _changed(self, hub: Hub, name: Name, ask: Ask, deadline: float, allowed_s: float) -> dict[str, Any]:
        """As Lines does it."""
        kept_s = self._lines.kept_s(ask)
        changing = Settling(self._lines, hub, ask.method, ask.params, name)
        try:
            return await self._run(changing.within(deadline - kept_s, allowed_s, ask.wait_s))
        except UnknownOutcome:
            if ask.retreat is None or not kept_s:
                raise
            with contextlib.suppress(MltbError):
                return await self._run(giving_up(self._lines, hub, name, ask, ask.retreat, kept_s))
            raise

    async def _retreat(self, hub: Hub, name: Name | None, ask: Ask, retreat: Retreat) -> None:
        """As Lines does it. It may be begun again."""
        until, made = time.monotonic() + RETREAT_S, dict[str, Any]()
        with contextlib.suppress(MltbError):  # It ends by its own time limits.
            if name is not None and not retreat.begun:
                made = await self._run(giving_up(self._lines, hub, name, ask, retreat))
            undo = retreat.undo(made)
            if undo is not None:
                await self._run(Settling(self._lines, hub, *undo, Row().next()).within(until, RETREAT_S, 0.0))

    async def _run(self, settling: Settling) -> dict[str, Any]:
        from mltb_transport.control import ControlError

        while True:
            channel: Channel | None = None
            try:
                call = settling.call()
                channel = await self._try(settling.hub, call, settling.until, settling.share_s)
                return settling.answer(call)
            except (ControlError, MltbError) as error:
                pause_s = settling.failed(error, channel)
            await asyncio.sleep(pause_s)

    async def _try(self, hub: Hub, call: Call, deadline: float, share_s: float) -> Channel:
        """One try, through the connection that there is or a new one."""
        loop = asyncio.get_running_loop()
        while True:
            began = time.monotonic()
            try:
                channel = await self._open(loop, hub, deadline, share_s)
            finally:
                self._lines.endpoints = hub.endpoints
            if await self._reader(loop).ask(channel, call, hub.until(began, deadline, share_s)):
                break
        self._lines.answered(call, channel)
        hub.close_if_idle()
        return channel

    async def _open(self, loop: asyncio.AbstractEventLoop, hub: Hub, deadline: float, share_s: float) -> Channel:
        """As Hub.open, in a thread. While that looks for the leader, the connection that there is serves."""
        now = time.monotonic()
        channel = hub.channel
        if channel is not None and not hub.may_follow(channel, now):
            return channel
        until = hub.until(now, deadline, share_s)
        while True:
            opening, its_until = self._reader(loop).opening(hub, deadline, share_s)
            if channel is not None:
                return channel
            try:
                await asyncio.wait((opening,), timeout=max(0.0, deadline - time.monotonic()) + TELL_S)
            finally:
                if not opening.done():
                    opening.add_done_callback(lambda _: hub.close_if_idle())
            if not opening.done():
                raise too_late()
            now = time.monotonic()
            failed_late = opening.exception() is not None and its_until - now <= SPREAD_S
            if not failed_late or until - now <= SPREAD_S:
                return opening.result()

    def close(self) -> None:
        """This loop reads what is under way, and no more; a later call begins anew."""
        self._leave_the_parents()
        self._close_those_of_closed_loops()
        reader = self._readers.pop(asyncio.get_running_loop(), None)
        if reader is not None:
            reader.close()

    def _reader(self, loop: asyncio.AbstractEventLoop) -> LoopReader:
        self._leave_the_parents()
        reader = self._readers.get(loop)
        if reader is None:
            self._close_those_of_closed_loops()
            reader = self._readers[loop] = LoopReader(loop)
        return reader

    def _leave_the_parents(self) -> None:
        """After a fork. Whoever held the mutex of a connection stayed behind: those are not touched."""
        if self._pid != os.getpid():
            self._readers, self._pid = {}, os.getpid()

    def _close_those_of_closed_loops(self) -> None:
        for loop in [loop for loop in self._readers if loop.is_closed()]:
            self._readers.pop(loop).close()


class LoopReader:
    """One event loop, reading the connections that its tasks use."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread = threading.get_ident()
        self._started: list[Channel] = []
        self._files: dict[Channel, tuple[int, ...]] = {}
        self._under_way: Counter[Channel] = Counter()
        self._openings: dict[Hub, tuple[asyncio.Future[Channel], float]] = {}
        self._closed = False

    def opening(self, hub: Hub, deadline: float, share_s: float) -> tuple[asyncio.Future[Channel], float]:
        """The connection that is being made, and until when: one for all tasks, in a thread that nobody waits for in
        the end, neither loop nor process."""
        from mltb_transport.control import Unreachable

        if hub not in self._openings:
            opening: asyncio.Future[Channel] = self._loop.create_future()
            self._openings[hub] = opening, hub.until(time.monotonic(), deadline, share_s)
            opening.add_done_callback(partial(self._opened, hub))
            work = partial(self._open, hub, deadline, share_s, opening)
            try:
                threading.Thread(target=work, name="mltb-open", daemon=True).start()
            except RuntimeError as error:  # This process may have no more.
                opening.set_exception(Unreachable(f"no connection can be made: {error}", "run `ulimit -u`"))
        return self._openings[hub]

    def _open(self, hub: Hub, deadline: float, share_s: float, opening: asyncio.Future[Channel]) -> None:
        try:
            channel, _ = hub.open(deadline, share_s)
        except Exception as error:  # Whatever it is, it is for who waits.
            tell = partial(opening.set_exception, error)
        else:
            tell = partial(opening.set_result, channel)
        if not self._later(tell):
            hub.close_if_idle()

    def _opened(self, hub: Hub, opening: asyncio.Future[Channel]) -> None:
        del self._openings[hub]
        opening.exception()  # It may be that nobody waits.

    async def ask(self, channel: Channel, call: Call, deadline: float) -> bool:
        """As Channel.ask."""
        from mltb_transport.channel import QUIET_S

        loop, began = self._loop, time.monotonic()
        answered: asyncio.Future[None] = loop.create_future()
        timer: asyncio.TimerHandle

        def tell() -> None:
            if threading.get_ident() == self._thread:
                _end(answered)
            else:
                self._later(partial(_end, answered))

        def look_up() -> None:
            nonlocal timer
            now = time.monotonic()
            if call.done or now >= deadline or channel.silent(call, began, now):
                _end(answered)
            else:
                timer = loop.call_later(min(QUIET_S, deadline - now), look_up)

        call.tell = tell
        self._under_way[channel] += 1
        try:
            self._watch(channel)
            if not channel.start(call):
                return False
            if not self._started:
                loop.call_soon(self._flush)
            if channel not in self._started:
                self._started.append(channel)
            timer = loop.call_later(max(0.0, min(QUIET_S, deadline - began)), look_up)
            try:
                await answered
            finally:
                timer.cancel()
        finally:
            channel.leave(call)
            self._under_way[channel] -= 1
            if not self._under_way[channel]:
                del self._under_way[channel]
                self._leave_if_closed(channel)
        return True

    def _flush(self) -> None:
        started, self._started = self._started, []
        for channel in started:
            channel.flush()

    def _watch(self, channel: Channel) -> None:
        """The loop looks when there is something to see, until the channel is closed."""
        from mltb_transport.control import unable

        try:
            files = channel.watch(self, lambda: self._ended(channel))
            if files:
                self._files[channel] = files
                for file in files:
                    self._loop.add_reader(file, channel.look)
        except OSError as error:
            self._leave(channel)
            raise unable(channel.endpoint, error) from error

    def close(self) -> None:
        """Read no more than what is under way. For the thread of the loop, or any once the loop is closed."""
        self._closed = True
        for channel in list(self._files):
            self._leave_if_closed(channel)

    def _leave_if_closed(self, channel: Channel) -> None:
        if self._closed and (not self._under_way[channel] or self._loop.is_closed()):
            self._leave(channel)

    def _leave(self, channel: Channel) -> None:
        channel.unwatch(self)
        self._forget(channel)

    def _forget(self, channel: Channel) -> None:
        for file in self._files.pop(channel, ()):
            if not self._loop.is_closed():
                self._loop.remove_reader(file)
            os.close(file)

    def _ended(self, channel: Channel) -> None:
        """There will be nothing to see any more."""
        if not self._later(partial(self._forget, channel)):  # Nobody else looks at its files.
            self._forget(channel)

    def _later(self, call: Callable[[], object]) -> bool:
        """From any thread. False where the loop is closed: nobody waits in it."""
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:
            return False
        return True


def _end(answered: asyncio.Future[None]) -> None:
    if not answered.done():
        answered.set_result(None)


@asynccontextmanager
async def one_of(permits: Permits | None, deadline: float) -> AsyncIterator[None]:
    """Have one of these permits, or none where there is no limit. Raises Timeout."""
    while permits is not None:
        with permits.one(0.0) as mine:
            if mine:
                yield
                return
        if time.monotonic() >= deadline:
            raise Timeout("too many calls are under way and none ended in time", "use fewer tasks at once")
        await asyncio.sleep(PERMIT_PAUSE_S)
    yield


def in_thread(call: Callable[[], T]) -> asyncio.Future[T]:
    """What it returns or raises: in a thread that nobody waits for in the end, neither loop nor process.

    Raises Unreachable where this process may have no more threads.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def work() -> None:
        try:
            tell = partial(done.set_result, call())
        except BaseException as error:  # Whatever it is, it is for who waits.
            tell = partial(done.set_exception, error)
        with contextlib.suppress(RuntimeError):  # The loop may be closed by then.
            loop.call_soon_threadsafe(lambda: None if done.done() else tell())

    try:
        threading.Thread(target=work, name="mltb-call", daemon=True).start()
    except RuntimeError as error:
        raise Unreachable(f"no thread for a call: {error}", "run `ulimit -u`") from error
    return done
