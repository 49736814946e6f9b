"""Who gets in: strangers at every entry of a real bus, and the handler's answers to any request."""

from __future__ import annotations

import asyncio
import socket

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from mltb_transport.bus import new_counters
from mltb_transport.frames import PROTOCOL, Frame
from mltb_transport.keys import KeyPair, Keyring, new_secret
from mltb_transport.limits import PROTOCOL_READ_MAX, WIRE_BYTES_MAX
from mltb_transport.messages import Election, Founded, Ping, Request
from mltb_transport.zap import CONTROL_DOMAIN, GOSSIP_DOMAIN, Gatekeeper, allowed_keys
from mltb_transport.zmq_bus import ZmqBus
from tests.transport.frame_kit import encode
from tests.transport.nodes import KEYS, LOOPBACK, Node, nodes, stranger, until

OTHER = Keyring.from_secret(new_secret())


async def still_serves(one: Node, two: Node) -> None:
    """The one test that matters after each attack."""
    one.deliveries.clear()
    await until(lambda: two.send(one, Founded("still here")) and one.got(Founded("still here")))


def counter(bus: ZmqBus, name: str) -> int:
    return bus.counters[name]


@pytest.mark.parametrize("offset", [0, 1], ids=["gossip", "request"])
def test_a_client_without_a_key_is_turned_away_and_counted(offset: int) -> None:
    async def play() -> None:
        async with nodes("n1", "n2") as (one, two):
            kind = zmq.DEALER if offset else zmq.SUB
            with stranger(kind, one.port + offset, None) as client:
                if offset:
                    client.send(two.outbound.seal(Ping(66)))
                await until(lambda: counter(one.bus, "handshake_failed"))
                await still_serves(one, two)
                assert not one.got(Ping(66))

    asyncio.run(play())


@pytest.mark.parametrize("offset", [0, 1], ids=["gossip", "request"])
def test_a_key_of_another_cluster_is_denied_and_counted(offset: int) -> None:
    async def play() -> None:
        async with nodes("n1", "n2") as (one, two):
            kind = zmq.DEALER if offset else zmq.SUB
            with stranger(kind, one.port + offset, OTHER.node) as client:
                if offset:
                    client.send(two.outbound.seal(Ping(66)))
                await until(lambda: counter(one.bus, "auth_denied"))
                await still_serves(one, two)
                assert not one.got(Ping(66))

    asyncio.run(play())


def test_a_client_of_another_server_key_is_turned_away_and_counted() -> None:
    async def play() -> None:
        async with nodes("n1", "n2") as (one, two):
            with stranger(zmq.DEALER, one.port + 1, OTHER.node, OTHER.server.public) as client:
                client.send(two.outbound.seal(Ping(66)))
                await until(lambda: counter(one.bus, "handshake_failed"))
                await still_serves(one, two)

    asyncio.run(play())


@pytest.mark.parametrize("pair", [KEYS.admin, KEYS.viewer], ids=["admin", "viewer"])
def test_control_keys_do_not_open_the_gossip_port(pair: KeyPair) -> None:
    async def play() -> None:
        async with nodes("n1", "n2") as (one, two):
            with stranger(zmq.SUB, one.port, pair):
                await until(lambda: counter(one.bus, "auth_denied"))
                await still_serves(one, two)

    asyncio.run(play())


@pytest.mark.parametrize("role", ["admin", "viewer"])
def test_control_keys_may_ask_but_not_speak_as_a_node(role: str) -> None:
    async def play() -> None:
        async with nodes("n1", "n2") as (one, two):
            pair = KEYS.credential(role).pair
            with stranger(zmq.DEALER, one.port + 1, pair) as client:
                client.send(two.outbound.seal(Election(9, "vote", 1, 1, 1)))
                client.send(two.outbound.seal(Request(1, "pause", "{}")))
                client.send(encode(Frame(PROTOCOL, "", "", 0, 1, Request(1, "status", "{}"))))
                await until(lambda: one.got(Request(1, "status", "{}")))
                assert counter(one.bus, "wrong_role") == 2
                assert [delivery.role for delivery in one.deliveries] == [role]
                await still_serves(one, two)

    asyncio.run(play())


@pytest.mark.parametrize("keys", [None, KEYS], ids=["open", "encrypted"])
@pytest.mark.parametrize(
    "noise", [b"GET / HTTP/1.1\r\n\r\n", bytes(64), b"\xff" * 500, b"\xff\0\0\0\0\0\0\0\x01\x7f\x03"]
)
def test_noise_on_the_bare_ports_is_survived(keys: Keyring | None, noise: bytes) -> None:
    async def play() -> None:
        async with nodes("n1", "n2", keys=keys) as (one, two):
            for port in (one.port, one.port + 1):
                with socket.create_connection((LOOPBACK, port)) as bare:
                    bare.sendall(noise)
                    await still_serves(one, two)

    asyncio.run(play())


def test_bad_frames_from_a_member_are_counted_by_reason() -> None:
    async def play() -> None:
        async with nodes("n1", "n2") as (one, two):
            one.inbound.cluster = "ours"
            two.outbound.cluster = "ours"
            good = two.outbound.seal(Ping(1))
            two.outbound.cluster = "theirs"
            foreign = two.outbound.seal(Ping(2))
            two.outbound.cluster = "ours"
            newer = [good.replace(b"\x03\x91\x01", b"\x4d\x91\x01"), bytes([0x97, PROTOCOL_READ_MAX + 1]) + good[2:]]
            with stranger(zmq.DEALER, one.port + 1, KEYS.node) as member:
                for payload in (b"", b"\xc1", good[:-1], *newer, foreign, good, good):
                    member.send(payload)
                member.send_multipart([good, good])
                await until(lambda: counter(one.bus, "envelope_error"))
                counted = {name: n for name, n in one.bus.counters.items() if n}
                counted.pop("received"), counted.pop("sent", None)
                assert counted == {
                    "frame_error": 3,
                    "unknown_kind": 1,
                    "unknown_version": 1,
                    "wrong_cluster": 1,
                    "envelope_error": 1,
                }
                await still_serves(one, two)

    asyncio.run(play())


def test_an_oversized_message_costs_its_sender_the_connection() -> None:
    async def play() -> None:
        async with nodes("n1", "n2") as (one, two):
            with stranger(zmq.DEALER, one.port + 1, KEYS.node) as member:
                monitor = member.get_monitor_socket(zmq.EVENT_DISCONNECTED)
                try:
                    member.send(bytes(WIRE_BYTES_MAX + 1))
                    await until(lambda: monitor.poll(0))
                finally:
                    member.disable_monitor()
                    monitor.close()
                await still_serves(one, two)
                assert all(len(payload) < 1000 for payload, _ in one.raw)

    asyncio.run(play())


def test_a_flood_of_a_member_does_not_shut_others_out() -> None:
    async def play() -> None:
        async with nodes("n1", "n2") as (one, two):
            one.raw.clear()
            with stranger(zmq.DEALER, one.port + 1, KEYS.node) as member:
                member.setsockopt(zmq.SNDHWM, 0)
                for _ in range(20_000):
                    member.send(b"\xc1" * 100)
                await still_serves(one, two)
                await until(lambda: counter(one.bus, "frame_error") == 20_000, 20)

    asyncio.run(play())


# -- the handler alone ---------------------------------------------------------------------------------------


def gatekeeper() -> Gatekeeper:
    return Gatekeeper(allowed_keys(KEYS), new_counters())


@given(st.lists(st.binary(max_size=40), max_size=9))
def test_every_request_gets_an_answer_of_six_frames_and_junk_never_200(request: list[bytes]) -> None:
    answer = gatekeeper().answer(request)
    assert len(answer) == 6
    assert answer[0] == b"1.0"
    assert answer[2] in (b"400", b"500")


@pytest.mark.parametrize("role", ["node", "admin", "viewer"])
def test_the_user_id_is_the_role(role: str) -> None:
    raw = zmq.utils.z85.decode(KEYS.credential(role).pair.public)
    control = [b"1.0", b"7", CONTROL_DOMAIN.encode(), b"", b"", b"CURVE", raw]
    assert gatekeeper().answer(control) == [b"1.0", b"7", b"200", b"OK", role.encode(), b""]
    gossip = [b"1.0", b"7", GOSSIP_DOMAIN.encode(), b"", b"", b"CURVE", raw]
    assert gatekeeper().answer(gossip)[2] == (b"200" if role == "node" else b"400")
    elsewhere = [b"1.0", b"7", b"elsewhere", b"", b"", b"CURVE", raw]
    assert gatekeeper().answer(elsewhere)[2] == b"400"
    assert gatekeeper().answer([*control[:5], b"NULL"])[2] == b"400"


def test_a_request_without_envelope_does_not_stop_the_handler() -> None:
    async def play() -> None:
        keeper = gatekeeper()
        counters = keeper.counters
        with zmq.Context() as context, context.socket(zmq.DEALER) as libzmq:
            libzmq.linger = 0
            drain = keeper.open(context)
            drain.start(asyncio.get_running_loop())
            libzmq.connect("inproc://zeromq.zap.01")
            libzmq.send(b"no envelope")
            libzmq.send_multipart([b"", b"0.9"])
            await until(lambda: libzmq.poll(0))
            assert libzmq.recv_multipart()[:4] == [b"", b"1.0", b"", b"500"]
            assert counters["zap_error"] == 2
            drain.stop()
            drain.socket.close()

    asyncio.run(play())
