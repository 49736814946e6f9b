"""ZMTP as a client of a local socket speaks it: with libzmq at the other end, and with whatever else may be there."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from mltb_transport.zmtp import GREETING_BYTES, HELLO, Incoming, ZmtpError, framed

MAX = 1 << 20
GREETING = HELLO[:GREETING_BYTES]


def command(name: bytes, body: bytes = b"") -> bytes:
    whole = bytes([len(name)]) + name + body
    return bytes([4, len(whole)]) + whole


READY = command(b"READY")


def ready(bytes_max: int = MAX) -> Incoming:
    incoming = Incoming(bytes_max)
    assert incoming.feed(GREETING + READY) == []
    assert incoming.ready
    return incoming


@given(st.lists(st.binary(max_size=600), max_size=6), st.lists(st.integers(1, 300), min_size=1, max_size=9))
def test_however_it_is_cut_the_same_messages_arrive(messages: list[bytes], cuts: list[int]) -> None:
    incoming, found = Incoming(MAX), []
    data = GREETING + READY + b"".join(map(framed, messages))
    while data:
        size = cuts[len(data) % len(cuts)]
        found += incoming.feed(data[:size])
        data = data[size:]
    assert found == messages


@given(st.binary(max_size=200), st.booleans())
def test_noise_gives_messages_or_an_error(noise: bytes, greeted: bool) -> None:
    incoming = ready(100) if greeted else Incoming(100)
    try:
        for message in incoming.feed(noise):
            assert len(message) <= 100
    except ZmtpError:
        pass


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"HTTP/1.1 400 Bad Request", "no greeting"),
        (b"\xff" + bytes(8) + b"\x01", "no greeting"),
        (GREETING[:10] + b"\x01" + GREETING[11:], "version 1"),
        (GREETING[:12] + b"CURVE".ljust(20, b"\0") + bytes(32), "CURVE"),
        (GREETING + framed(b"too early"), "before the handshake"),
        (GREETING + command(b"ERROR", b"\x02no"), "refused: no"),
        (GREETING + READY + b"\x02" + (MAX + 1).to_bytes(8, "big"), f"a frame of {MAX + 1} bytes"),
    ],
)
def test_what_no_daemon_says_is_an_error_at_once(said: bytes, why: str) -> None:
    with pytest.raises(ZmtpError, match=why):
        Incoming(MAX).feed(said)


def test_of_several_parts_the_last_one_counts_and_other_commands_are_passed_over() -> None:
    incoming = ready()
    assert incoming.feed(b"\x01\x01a" + b"\x01\x01b" + framed(b"c") + command(b"PING", b"\0\0") + framed(b"d")) == [
        b"c",
        b"d",
    ]


@pytest.fixture
def router(tmp_path: Path) -> Iterator[tuple[zmq.Socket[bytes], str]]:
    path = str(tmp_path / "router.sock")
    with zmq.Context() as context, context.socket(zmq.ROUTER) as one:
        one.linger = 0
        one.setsockopt(zmq.MAXMSGSIZE, MAX)
        one.bind(f"ipc://{path}")
        yield one, path


@pytest.mark.parametrize("size", [0, 1, 255, 256, 65_536, MAX])
def test_libzmq_understands_it_and_is_understood(router: tuple[zmq.Socket[bytes], str], size: int) -> None:
    one, path = router
    message = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    incoming, found = Incoming(MAX), list[bytes]()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        client.sendall(HELLO)
        while not incoming.ready:
            assert incoming.feed(client.recv(65_536)) == []
        client.sendall(framed(message))
        assert one.poll(30_000)
        who, got = one.recv_multipart()
        assert got == message
        one.send_multipart([who, got])
        while not found:
            found += incoming.feed(client.recv(65_536))
    assert found == [message]
