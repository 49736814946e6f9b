"""A connection to a daemon of this machine when its socket is full, silent, broken or not there."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mltb_transport import local_peer
from mltb_transport.control import CallFailed, Endpoint, Unreachable
from mltb_transport.local_peer import LocalPeer
from mltb_transport.zmtp import HELLO, framed
from tests.waiting import until

PATIENT_S = 30.0


class Daemon:
    """Takes one connection at a time, shakes hands, and then does as it is told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(8)

    def accept(self, said: bytes = HELLO) -> socket.socket:
        one, _ = self.listener.accept()
        one.sendall(said)
        return one


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    one = Daemon(tmp_path / "n1.sock")
    yield one
    one.listener.close()


def opened(daemon: Daemon) -> tuple[LocalPeer, socket.socket]:
    """A connection that has shaken hands, and its other end."""
    ends: list[socket.socket] = []
    accepting = threading.Thread(target=lambda: ends.append(daemon.accept()))
    accepting.start()
    peer = LocalPeer(Endpoint(str(daemon.path)))
    peer.shake_hands(time.monotonic() + PATIENT_S)
    accepting.join()
    return peer, ends[0]


def taken(peer: LocalPeer, count: int) -> list[bytes]:
    found: list[bytes] = []

    def enough() -> bool:
        found.extend(peer.take())
        return len(found) >= count

    until(enough)
    return found


def test_messages_come_and_go_and_an_end_is_noticed_after_what_was_said(daemon: Daemon) -> None:
    peer, end = opened(daemon)
    assert peer.send(b"hello")
    end.sendall(framed(b"a") + framed(b"b" * 100_000) + framed(b"c"))
    assert taken(peer, 3) == [b"a", b"b" * 100_000, b"c"]
    assert not peer.lost
    end.sendall(framed(b"last words"))
    end.close()
    until(lambda: peer.lost)
    assert peer.take() == [b"last words"]
    peer.close()


def test_to_ask_whether_it_is_lost_loses_no_message(daemon: Daemon) -> None:
    peer, end = opened(daemon)
    end.sendall(framed(b"a"))
    assert not peer.lost
    assert taken(peer, 1) == [b"a"]
    peer.close()
    end.close()


def test_a_long_message_leaves_whole_while_the_daemon_reads(daemon: Daemon) -> None:
    peer, end = opened(daemon)
    got = bytearray()
    whole = len(HELLO) + len(framed(bytes(4 << 20)))

    def read() -> None:
        while len(got) < whole:
            got.extend(end.recv(65_536))

    reading = threading.Thread(target=read)
    reading.start()
    assert peer.send(bytes(4 << 20))
    reading.join(PATIENT_S)
    assert bytes(got[len(HELLO) :]) == framed(bytes(4 << 20))
    peer.close()
    end.close()


def test_a_daemon_that_takes_nothing_is_given_up(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_peer, "SEND_S", 0.05)
    peer, end = opened(daemon)
    assert not peer.send(bytes(4 << 20))
    assert peer.lost
    assert not peer.send(b"after a half frame nothing may follow")
    peer.close()
    end.close()


def test_noise_ends_the_connection(daemon: Daemon) -> None:
    peer, end = opened(daemon)
    end.sendall(b"\x02" + (1 << 62).to_bytes(8, "big"))
    until(lambda: peer.lost)
    assert peer.take() == []
    peer.close()
    end.close()


def test_a_watcher_with_a_descriptor_of_its_own_does_not_keep_it_open(daemon: Daemon) -> None:
    peer, end = opened(daemon)
    copy = os.dup(peer.files[0])
    peer.close()
    end.settimeout(PATIENT_S)
    while end.recv(65_536):
        pass  # What it said first; then it is over for the daemon.
    os.close(copy)
    end.close()


@pytest.mark.parametrize("said", [b"SSH-2.0-OpenSSH", HELLO[:20] + b"x" * 44])
def test_who_is_no_daemon_hangs_up(daemon: Daemon, said: bytes) -> None:

    def answer() -> None:
        for _ in range(2):
            daemon.accept(said).close()

    accepting = threading.Thread(target=answer)
    accepting.start()
    with closing(LocalPeer(Endpoint(str(daemon.path)))) as peer, pytest.raises(Unreachable, match="hangs up"):
        peer.shake_hands(time.monotonic() + PATIENT_S)
    accepting.join()


def test_who_was_being_stopped_is_asked_again(daemon: Daemon) -> None:
    def answer() -> None:
        daemon.listener.accept()[0].close()
        ends.append(daemon.accept())

    ends: list[socket.socket] = []
    accepting = threading.Thread(target=answer)
    accepting.start()
    peer = LocalPeer(Endpoint(str(daemon.path)))
    peer.shake_hands(time.monotonic() + PATIENT_S)
    accepting.join()
    peer.close()
    ends[0].close()


def test_where_too_many_wait_to_be_let_in_it_waits_as_long_as_it_may(tmp_path: Path) -> None:
    path = str(tmp_path / "full.sock")
    with socket.socket(socket.AF_UNIX) as full, socket.socket(socket.AF_UNIX) as first:
        full.bind(path)
        full.listen(0)
        first.connect(path)
        began = time.monotonic()
        with closing(LocalPeer(Endpoint(path))) as peer, pytest.raises(Unreachable, match="in time") as caught:
            peer.shake_hands(began + 0.2)
        assert time.monotonic() - began >= 0.2
    assert "`mltbctl -n NODE doctor`" in caught.value.hint


def test_a_path_that_no_socket_can_have_is_named(tmp_path: Path) -> None:
    path = str(tmp_path / ("x" * 200))
    with closing(LocalPeer(Endpoint(path))) as peer, pytest.raises(CallFailed, match="cannot connect to") as caught:
        peer.shake_hands(time.monotonic() + 1)
    assert caught.value.code == "usage"


def test_what_was_said_before_the_end_is_taken_by_who_finds_nobody_to_send_to(daemon: Daemon) -> None:
    peer, end = opened(daemon)
    end.sendall(framed(b"last words"))
    end.close()
    until(lambda: not peer.send(b"hello"))
    assert peer.take() == [b"last words"]
    assert peer.lost
    peer.close()
