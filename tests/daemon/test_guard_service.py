"""The guard under a service manager: it speaks for the daemon, and SIGHUP is no stop."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from tests.daemon.guarded import Guarded
from tests.waiting import PATIENCE_S, until


def environment_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> socket.socket:
    """Where the guards of this test send what they have to say."""
    end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    end.settimeout(PATIENCE_S)
    end.bind(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    return end


def test_the_daemon_speaks_through_the_guard_whose_children_never_see_the_address(
    tmp_path: Path, manager: socket.socket
) -> None:
    with manager, Guarded(tmp_path).meet() as guarded:
        assert guarded.hello["supervised"] is True
        guarded.order(do="tell", lines=["READY=1", "STATUS=well"])
        assert manager.recv(1000) == b"READY=1\nSTATUS=well"
        workload = guarded.run([sys.executable, "-c", "input()"], env={**os.environ, "NOTIFY_SOCKET": "/forged"})
        for pid in (guarded.relay_pid, workload.pid):
            assert b"NOTIFY_SOCKET" not in environment_of(pid)


def test_a_daemon_cannot_name_another_main_process(tmp_path: Path, manager: socket.socket) -> None:
    with manager, Guarded(tmp_path).meet() as guarded:
        for lines in (["MAINPID=1"], ["READY=1\nMAINPID=1"], ["READY"], [], "READY=1", ["STATUS=" + "x" * 300]):
            guarded.order(do="tell", lines=lines)
        guarded.order(do="tell", lines=["WATCHDOG=1"])
        assert manager.recv(1000) == b"WATCHDOG=1"


def test_a_stop_is_announced(tmp_path: Path, manager: socket.socket) -> None:
    with manager, Guarded(tmp_path).meet() as guarded:
        guarded.guard.send_signal(signal.SIGTERM)
        assert manager.recv(1000).startswith(b"STOPPING=1\n")
        guarded.news("stop")


def test_without_a_terminal_hangup_means_reload(tmp_path: Path) -> None:
    with Guarded(tmp_path, alone=True).meet() as guarded:
        guarded.guard.send_signal(signal.SIGHUP)
        guarded.news("reload")
        guarded.order(do="tell", lines=["READY=1"])  # Nobody to tell: no harm.
        guarded.guard.send_signal(signal.SIGTERM)
        guarded.news("stop")


def test_what_is_to_be_reloaded_between_two_lives_of_the_daemon_is_told_to_the_next(tmp_path: Path) -> None:
    with Guarded(tmp_path, alone=True).meet() as guarded:
        for _ in range(3):  # So that there is a pause.
            guarded.send(b"exit 1")
            guarded.meet()
        guarded.send(b"exit 1")
        until(lambda: guarded.errors.read_text().count("the daemon ended with 1: restart in") == 4)
        guarded.guard.send_signal(signal.SIGHUP)
        guarded.meet().news("reload")
        guarded.send(b"exit 1")
        guarded.meet().start(["true"])
        guarded.news("failed")
        with pytest.raises(TimeoutError):
            guarded.news("reload", 0.001)
