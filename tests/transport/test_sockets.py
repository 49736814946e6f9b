"""Reading a socket from a loop: every message, a budget per turn, and nothing after the end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import pytest
import zmq

from mltb_transport.limits import FRAME_BYTES_MAX
from mltb_transport.sockets import (
    DRAIN_BYTES_MAX,
    DRAIN_MESSAGES_MAX,
    LIBZMQ_MIN,
    Drain,
    RawSocket,
    TransportUnusable,
    check_libzmq,
    drop_unsent,
    endpoint,
)
from tests.transport.nodes import until


@contextlib.contextmanager
def pair() -> Iterator[tuple[RawSocket, RawSocket]]:
    with zmq.Context() as context, context.socket(zmq.PAIR) as one, context.socket(zmq.PAIR) as two:
        for socket in (one, two):
            socket.linger = 0
            socket.setsockopt(zmq.SNDHWM, 10_000)
            socket.setsockopt(zmq.RCVHWM, 10_000)
        one.bind("inproc://pair")
        two.connect("inproc://pair")
        yield one, two


class Turns:
    """Counts the turns of the loop while something is read, and what was read in each."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.read = [0]
        self._loop = loop
        loop.call_soon(self._next)

    def handle(self, parts: list[bytes]) -> None:
        del parts
        self.read[-1] += 1

    def _next(self) -> None:
        self.read.append(0)
        if sum(self.read) < 1000 and len(self.read) < 100_000:
            self._loop.call_soon(self._next)


def test_a_burst_is_read_whole_but_never_more_than_the_budget_in_one_turn() -> None:
    async def play() -> None:
        loop = asyncio.get_running_loop()
        with pair() as (one, two):
            for _ in range(1000):
                two.send(b"x")
            turns = Turns(loop)
            drain = Drain(one, turns.handle)
            drain.start(loop)
            await until(lambda: sum(turns.read) == 1000)
            assert max(turns.read) <= 2 * DRAIN_MESSAGES_MAX  # the descriptor and the recheck, one each
            assert len([read for read in turns.read if read]) >= 1000 / DRAIN_MESSAGES_MAX / 2
            drain.stop()

    asyncio.run(play())


def test_large_messages_are_budgeted_by_size() -> None:
    async def play() -> None:
        loop = asyncio.get_running_loop()
        with pair() as (one, two):
            for _ in range(12):
                two.send(bytes(FRAME_BYTES_MAX))
            turns = Turns(loop)
            drain = Drain(one, turns.handle)
            drain.start(loop)
            await until(lambda: sum(turns.read) == 12)
            assert max(turns.read) <= 2 * DRAIN_BYTES_MAX // FRAME_BYTES_MAX
            drain.stop()

    asyncio.run(play())


def test_the_end_of_a_turn_is_told_when_all_that_was_there_has_been_handled() -> None:
    async def play() -> None:
        with pair() as (one, two):
            got: list[list[bytes]] = []
            told: list[int] = []
            drain = Drain(one, got.append, lambda: told.append(len(got)))
            for _ in range(5):
                two.send(b"x")
            drain.start(asyncio.get_running_loop())
            await until(lambda: len(told) > 0)
            assert (len(got), told[0]) == (5, 5)
            drain.stop()

    asyncio.run(play())


def test_an_edge_eaten_by_a_send_is_found_by_the_recheck() -> None:
    async def play() -> None:
        with pair() as (one, two):
            got: list[list[bytes]] = []
            drain = Drain(one, got.append)
            drain.start(asyncio.get_running_loop())
            for number in range(200):
                two.send(b"question %d" % number)
                drop_unsent(one, [b"unrelated"])  # processes what signalled the arrival
                drain.recheck()
            await until(lambda: len(got) == 200)
            drain.stop()

    asyncio.run(play())


def test_a_handler_that_raises_does_not_end_the_reading() -> None:
    async def play() -> None:
        loop = asyncio.get_running_loop()
        raised: list[object] = []
        loop.set_exception_handler(lambda _, context: raised.append(context["exception"]))
        got: list[bytes] = []

        def handle(parts: list[bytes]) -> None:
            got.append(parts[0])
            if parts[0] == b"bad":
                raise ValueError("bad")

        with pair() as (one, two):
            drain = Drain(one, handle)
            for payload in (b"good", b"bad", b"good again"):
                two.send(payload)
            drain.start(loop)
            await until(lambda: len(got) == 3)
            assert [str(error) for error in raised] == ["bad"]
            drain.stop()

    asyncio.run(play())


def test_nothing_is_read_after_stop_not_even_from_inside_the_handler() -> None:
    async def play() -> None:
        got: list[list[bytes]] = []

        def handle(parts: list[bytes]) -> None:
            got.append(parts)
            drain.stop()

        with pair() as (one, two):
            drain = Drain(one, handle)
            two.send(b"first")
            two.send(b"second")
            drain.start(asyncio.get_running_loop())
            await until(lambda: got)
            drain.recheck()
            drain.stop()
            await asyncio.sleep(0)
            assert got == [[b"first"]]

    asyncio.run(play())


def test_an_error_that_is_not_a_full_queue_is_not_swallowed() -> None:
    with zmq.Context() as context, context.socket(zmq.SUB) as socket, pytest.raises(zmq.ZMQError):
        drop_unsent(socket, [b"a SUB cannot send"])


def test_an_old_libzmq_is_refused() -> None:
    check_libzmq(LIBZMQ_MIN)
    with pytest.raises(TransportUnusable, match=r"libzmq 4\.3\.4 is too old, 4\.3\.5 is needed"):
        check_libzmq((4, 3, 4))


def test_ipv6_addresses_get_brackets() -> None:
    assert endpoint("10.0.0.1", 7946) == "tcp://10.0.0.1:7946"
    assert endpoint("::1", 7946) == "tcp://[::1]:7946"
