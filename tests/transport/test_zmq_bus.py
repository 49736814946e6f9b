"""The real bus on loopback: what it carries, what it drops, and how it opens and closes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path

import pytest
import zmq

from mltb_transport.bus import BindError, InsecureBind, Route
from mltb_transport.frames import PROTOCOL, Frame
from mltb_transport.keys import Keyring
from mltb_transport.limits import FRAME_BYTES_MAX, SEND_QUEUE_MAX
from mltb_transport.messages import Founded, Heartbeat, Ping, Pong, Request
from mltb_transport.records import Record
from mltb_transport.wire import Delivery
from mltb_transport.zmq_bus import BusConfig, ZmqBus
from tests.transport.frame_kit import encode
from tests.transport.nodes import KEYS, LOOPBACK, Node, free_port, ignore, nodes, stranger, until

RECORD = Record(
    "n1", 1, 1, "s", "c", LOOPBACK, 7946, "voter", 100, "ACTIVE", "HEALTHY", 0, "0.1", False, 1, "n1", 1, (), ()
)
HEARTBEAT = Heartbeat(RECORD, ())


@pytest.mark.parametrize("keys", [None, KEYS], ids=["open", "encrypted"])
def test_requests_and_gossip_arrive_with_their_role(keys: Keyring | None) -> None:
    async def play() -> None:
        async with nodes("n1", "n2", keys=keys) as (one, two):
            await until(lambda: one.send(two, Ping(1)) and two.got(Ping(1)))
            await until(lambda: one.publish(HEARTBEAT) and two.got(HEARTBEAT))
            role = "open" if keys is None else "node"
            assert {(source.path, source.role) for _, source in two.raw} == {("request", role), ("gossip", role)}
            assert one.raw == []  # no echo

    asyncio.run(play())


def test_a_round_trip_goes_through_the_peers_own_link() -> None:
    async def play() -> None:
        async with nodes("n1", "n2") as (one, two):

            def answer(delivery: Delivery) -> None:
                del delivery
                two.send(one, Pong(7))

            two.on_delivery = answer
            await until(lambda: one.send(two, Ping(7)) and one.got(Pong(7)))

    asyncio.run(play())


def test_everything_sent_within_the_queue_arrives_in_one_piece() -> None:
    """One edge of the descriptor stands for many messages: all of them must be read."""

    async def play() -> None:
        async with nodes("n1", "n2") as (one, two):
            await until(lambda: one.send(two, Founded("start")))
            await until(lambda: two.got(Founded("start")))
            for number in range(3000):
                await until(lambda number=number: one.send(two, Ping(number)))  # type: ignore[misc]
            await until(lambda: two.got(Ping(2999)))
            arrived = [d.frame.message.nonce for d in two.deliveries if isinstance(d.frame.message, Ping)]
            assert arrived == list(range(3000))

    asyncio.run(play())


def test_a_restarted_peer_is_reached_at_once_after_relink() -> None:
    async def play() -> None:
        async with nodes("n1", "n2") as (one, two):
            await until(lambda: one.send(two, Ping(1)) and two.got(Ping(1)))
            two.bus.close()
            with contextlib.ExitStack() as stack:
                # Somebody takes the connections and says nothing: left alone, libzmq waits for seconds.
                await hold_connections(stack, two.port)
                again = Node("n2", KEYS, port=two.port).open()
                stack.callback(again.bus.close)
                again.link(one)
                await until(lambda: again.send(one, Ping(2)) and one.got(Ping(2)))
                assert not one.send(two, Ping(3))
                one.bus.relink(LOOPBACK, two.port)
                assert await until(lambda: one.send(two, Ping(4)) and again.got(Ping(4))) < 0.3
                assert await until(lambda: again.publish(HEARTBEAT) and one.got(HEARTBEAT)) < 0.3

    asyncio.run(play())


def test_a_connection_that_breaks_is_told_and_one_that_is_cut_is_not() -> None:
    async def play() -> None:
        lost: list[tuple[str, int]] = []
        one, two = Node("n1", KEYS), Node("n2", KEYS).open()
        one.bus.open(ignore, lambda address, port: lost.append((address, port)))
        with contextlib.closing(one.bus):
            one.link(two)
            await until(lambda: one.send(two, Ping(1)) and two.got(Ping(1)))
            one.bus.relink(LOOPBACK, two.port)
            await until(lambda: one.send(two, Ping(2)) and two.got(Ping(2)))
            assert lost == []
            two.bus.close()
            await until(lambda: lost == [(LOOPBACK, two.port)], 1.0)
            assert one.bus.counters["connections_lost"] == 1

    asyncio.run(play())


async def hold_connections(stack: contextlib.ExitStack, port: int) -> None:
    """Accept one connection on this port and the next, keep them open, and make room for another listener."""
    for one in (port, port + 1):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((LOOPBACK, one))
            listener.listen()
            listener.settimeout(5)
            connection, _ = await asyncio.to_thread(listener.accept)
            stack.enter_context(connection)


def test_relink_of_a_stranger_is_a_link() -> None:
    async def play() -> None:
        async with nodes("n1") as (one,), nodes("n2") as (two,):
            one.bus.relink(LOOPBACK, two.port)
            await until(lambda: one.send(two, Ping(1)) and two.got(Ping(1)))

    asyncio.run(play())


@pytest.mark.parametrize("keys", [None, KEYS], ids=["open", "encrypted"])
def test_a_payload_of_the_full_size_passes(keys: Keyring | None) -> None:
    """The box that CURVE puts around it must not count against the limit."""

    async def play() -> None:
        full = bytes(FRAME_BYTES_MAX)
        async with nodes("n1", "n2", keys=keys) as (one, two):
            await until(lambda: one.bus.send(LOOPBACK, two.port, full) and two.raw)
            await until(lambda: one.bus.publish(full) and two.raw[-1][1].path == "gossip")
            assert {payload for payload, _ in two.raw} == {full}

    asyncio.run(play())


def test_a_peer_that_does_not_read_costs_a_bounded_queue() -> None:
    async def play() -> None:
        payload = bytes(FRAME_BYTES_MAX)
        with zmq.Context() as context, context.socket(zmq.ROUTER) as deaf:
            deaf.linger = 0
            deaf.setsockopt(zmq.RCVHWM, 1)
            port = free_port()
            deaf.bind(f"tcp://{LOOPBACK}:{port + 1}")
            async with nodes("n1", keys=None) as (one,):
                one.bus.link(LOOPBACK, port)
                await until(lambda: one.bus.send(LOOPBACK, port, b"first"))
                sent = 0
                while one.bus.send(LOOPBACK, port, payload):
                    sent += 1
                    assert sent <= 3 * SEND_QUEUE_MAX
                assert one.bus.counters["send_dropped"] > 0
                assert not one.bus.send(LOOPBACK, port, payload)

    asyncio.run(play())


def test_what_cannot_be_sent_is_counted() -> None:
    async def play() -> None:
        async with nodes("n1") as (one,):
            assert not one.bus.send(LOOPBACK, 1, b"")
            assert one.bus.counters["send_unlinked"] == 1
            port = free_port()
            one.bus.link(LOOPBACK, port)
            assert not one.bus.send(LOOPBACK, port, b"nobody there")
            assert one.bus.counters["send_dropped"] == 1
            too_large = bytes(FRAME_BYTES_MAX + 1)
            assert not one.bus.send(LOOPBACK, port, too_large)
            assert not one.bus.publish(too_large)
            assert not one.bus.reply(Route("request", b"x"), too_large)
            assert one.bus.counters["oversized"] == 3
            assert not one.bus.reply(Route("request", b"gone"), b"answer")
            assert not one.bus.reply(Route("nowhere", b"gone"), b"answer")
            assert one.bus.counters["reply_dropped"] == 2
            one.bus.unlink(LOOPBACK, port)
            one.bus.unlink(LOOPBACK, port)
            assert not one.bus.send(LOOPBACK, port, b"")
            assert one.bus.counters["send_unlinked"] == 2

    asyncio.run(play())


def test_links_have_a_limit() -> None:
    async def play() -> None:
        bus = ZmqBus(BusConfig(LOOPBACK, free_port(), links_max=3))
        bus.open(ignore)
        with contextlib.closing(bus):
            for number in range(4):
                bus.link(LOOPBACK, 2000 + number)
            bus.link(LOOPBACK, 2000)
            assert bus.counters["links_refused"] == 1
            for address, port in (("", 2000), (LOOPBACK, 0), (LOOPBACK, 65535)):
                bus.unlink(LOOPBACK, 2002)
                bus.link(address, port)
            assert bus.counters["links_refused"] == 4

    asyncio.run(play())


def test_the_limit_of_links_can_be_reached() -> None:
    async def play() -> None:
        bus = ZmqBus(BusConfig(LOOPBACK, free_port(), KEYS, links_max=100))
        bus.open(ignore)
        with contextlib.closing(bus):
            for number in range(100):
                bus.link(LOOPBACK, 2000 + number)
            assert (len(bus.connections()), bus.counters["links_refused"]) == (100, 0)

    asyncio.run(play())


def test_a_name_is_looked_up_and_two_names_of_a_node_are_one_subscription() -> None:
    async def play() -> None:
        async with nodes("n1") as (one,), nodes("n2") as (two,):
            one.bus.link("localhost", two.port)
            one.bus.link(LOOPBACK, two.port)
            payload = one.outbound.seal(Ping(1))
            await until(lambda: one.bus.send("localhost", two.port, payload) and two.got(Ping(1)))
            await until(lambda: two.publish(HEARTBEAT) and one.got(HEARTBEAT))
            one.bus.unlink("localhost", two.port)
            one.deliveries.clear()
            await until(lambda: two.publish(HEARTBEAT) and one.got(HEARTBEAT))
            payloads = [payload for payload, _ in one.raw]
            assert len(set(payloads)) == len(payloads), "nothing came twice"

    asyncio.run(play())


def test_a_name_without_an_address_is_counted_and_harmless() -> None:
    async def play() -> None:
        async with nodes("n1", "n2") as (one, two):
            one.bus.link("no..name", 7946)
            one.bus.link("nul\0byte", 7946)
            await until(lambda: one.bus.counters["resolve_failed"] >= 2)
            await until(lambda: one.send(two, Ping(1)) and two.got(Ping(1)))

    asyncio.run(play())


@pytest.mark.parametrize("taken", [0, 1], ids=["gossip port", "request port"])
def test_a_port_in_use_is_named_and_nothing_stays_open(taken: int, tmp_path: Path) -> None:
    async def play() -> None:
        port = free_port()
        config = BusConfig(LOOPBACK, port, KEYS, local_path=str(tmp_path / "n1.sock"))
        with socket.socket() as other:
            other.bind((LOOPBACK, port + taken))
            other.listen()
            with pytest.raises(BindError, match=f"{port + taken}.*address already in use") as caught:
                ZmqBus(config).open(ignore)
            assert "CLUSTER_PORT" in caught.value.hint
        bus = ZmqBus(config)
        bus.open(ignore)
        bus.close()
        bus.close()

    asyncio.run(play())


@pytest.mark.parametrize("address", ["0.0.0.0", "*", "", "::", "10.1.2.3"])
def test_no_bind_beyond_loopback_without_keys(address: str) -> None:
    async def play() -> None:
        with pytest.raises(InsecureBind) as caught:
            ZmqBus(BusConfig(address, free_port())).open(ignore)
        assert "mltbctl secret new" in caught.value.hint
        assert "CLUSTER_INSECURE=True" in caught.value.hint

    asyncio.run(play())


@pytest.mark.parametrize("insecure", [False, True], ids=["keys", "insecure"])
def test_a_bind_beyond_loopback_with_keys_or_by_the_typed_way_out(insecure: bool) -> None:
    async def play() -> None:
        config = BusConfig("0.0.0.0", free_port(), None if insecure else KEYS, insecure=insecure)
        bus = ZmqBus(config)
        bus.open(ignore)
        bus.close()

    asyncio.run(play())


@pytest.mark.parametrize("port", [0, 65535, -1])
def test_a_port_without_a_next_one_is_refused(port: int) -> None:
    async def play() -> None:
        with pytest.raises(BindError, match=f"port {port} is not between"):
            ZmqBus(BusConfig(LOOPBACK, port)).open(ignore)

    asyncio.run(play())


def test_the_last_words_leave_before_the_bus_closes() -> None:
    """Large enough that they cannot have left yet when `close` is called."""

    async def play() -> None:
        last = bytes(FRAME_BYTES_MAX)
        async with nodes("n1", "n2") as (one, two):
            await until(lambda: one.send(two, Ping(1)) and two.got(Ping(1)))
            with stranger(zmq.DEALER, one.port + 1, KEYS.admin) as caller:
                caller.send(encode(Frame(PROTOCOL, "", "", 0, 1, Request(1, "status", "{}"))))
                await until(lambda: one.deliveries)
                route = one.deliveries[-1].route
                assert route is not None
                two.raw.clear()
                for _ in range(4):
                    assert one.bus.send(LOOPBACK, two.port, last)
                    assert one.bus.reply(route, last)
                one.bus.close()
                await until(lambda: [payload for payload, _ in two.raw] == [last] * 4)
                for _ in range(4):
                    await until(lambda: caller.poll(0))
                    assert caller.recv() == last

    asyncio.run(play())


def test_a_closed_bus_refuses_to_send() -> None:
    with pytest.raises(RuntimeError, match="the bus is not open"):
        ZmqBus(BusConfig(LOOPBACK, 7946)).send(LOOPBACK, 7946, b"")


def test_ipv6_loopback() -> None:
    async def play() -> None:
        port, other = free_port(), free_port()
        got: list[bytes] = []
        one, two = ZmqBus(BusConfig("::1", port, KEYS)), ZmqBus(BusConfig("::1", other, KEYS))
        try:
            one.open(ignore)
        except BindError as error:
            pytest.skip(f"no IPv6 here: {error}")
        two.open(lambda *arrived: got.append(arrived[0]))
        with contextlib.closing(one), contextlib.closing(two):
            one.link("::1", other)
            await until(lambda: one.send("::1", other, b"six") and got)

    asyncio.run(play())


def test_a_stranger_helper_gets_in_with_a_good_key() -> None:
    """Guards the tests of test_zap.py: their strangers fail for the reason they name, not for another."""

    async def play() -> None:
        async with nodes("n1") as (one,):
            with stranger(zmq.DEALER, one.port + 1, KEYS.node) as friend:
                friend.send(one.outbound.seal(Ping(1)))
                await until(lambda: one.got(Ping(1)))

    asyncio.run(play())
