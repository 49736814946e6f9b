"""The ipc socket: its mode, its lock, and what is refused."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
import zmq

from mltb_transport.bus import BindError
from mltb_transport.local_socket import PATH_BYTES_MAX, LocalSocket
from mltb_transport.sockets import RawSocket


@contextlib.contextmanager
def router() -> Iterator[RawSocket]:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        socket.linger = 0
        yield socket


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_modes_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "mltb" / "n1.sock"
    local = LocalSocket(str(path))
    before = os.umask(0)
    try:
        local.acquire()
        with router() as socket:
            local.bind(socket)
            assert mode(path) == 0o600
            assert mode(path.parent) == 0o700
            assert mode(Path(f"{path}.lock")) == 0o600
            assert os.umask(0) == 0
    finally:
        os.umask(before)
        local.release()
    assert not path.exists()


def test_the_mode_is_right_from_the_first_moment(tmp_path: Path) -> None:
    path = tmp_path / "n1.sock"
    seen: list[int] = []

    class Binder:
        def bind(self, endpoint: str) -> None:
            assert endpoint == f"ipc://{path}"
            path.touch(mode=0o777)
            seen.append(mode(path))

    local = LocalSocket(str(path))
    local.acquire()
    before = os.umask(0)
    local.bind(cast(RawSocket, Binder()))
    os.umask(before)
    local.release()
    assert seen == [0o600]


def test_a_second_daemon_is_refused_and_the_first_keeps_its_socket(tmp_path: Path) -> None:
    path = tmp_path / "n1.sock"
    first, second = LocalSocket(str(path)), LocalSocket(str(path))
    first.acquire()
    with router() as socket:
        first.bind(socket)
        with pytest.raises(BindError, match=r"another daemon serves `.*n1\.sock`"):
            second.acquire()
        second.release()
        assert path.is_socket()
        first.release()
        first.release()
    second.acquire()
    second.release()


def test_a_dead_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "n1.sock"
    path.write_text("left by a crash")
    local = LocalSocket(str(path))
    local.acquire()
    with router() as socket:
        local.bind(socket)
        assert path.is_socket()
    local.release()


def test_the_path_has_a_limit(tmp_path: Path) -> None:
    path = str(tmp_path / "n")
    path += "n" * (PATH_BYTES_MAX - len(path))
    local = LocalSocket(path)
    local.acquire()
    with router() as socket:
        local.bind(socket)
    local.release()
    with pytest.raises(BindError, match="longer than 107 bytes") as caught:
        LocalSocket(path + "n").acquire()
    assert "--runtime-dir" in caught.value.hint


def test_a_directory_others_can_write_to_is_refused(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    with pytest.raises(BindError, match="can be written by, other users") as caught:
        LocalSocket(str(shared / "n1.sock")).acquire()
    assert "chmod" not in caught.value.hint, "it may be /tmp"


def test_a_directory_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BindError, match=r"cannot serve `.*n1\.sock`"):
        LocalSocket(str(tmp_path / "file" / "n1.sock")).acquire()


def test_a_directory_in_the_place_of_the_socket_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "n1.sock"
    path.mkdir()
    local = LocalSocket(str(path))
    with pytest.raises(BindError, match="cannot serve"):
        local.acquire()
    path.rmdir()
    local.acquire()
    local.release()
