"""The daemon as a process, with its guard's end of the line in our hands: how it begins, serves, and ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from mltb_transport.limits import RELEASE
from mltbctl.client import Client, MltbError
from mltbd.orders import DATAGRAM_BYTES_MAX, EXIT_CLEAN, EXIT_CONFIG, EXIT_FATAL, EXIT_ORPHAN, FD_VARIABLE, channel
from mltbd.runtime.clock import boottime
from mltbd.runtime.kept import packed
from tests.mltbctl.terminal import environment
from tests.transport.nodes import free_port
from tests.waiting import holds, until

PATIENCE_S = 60.0
TOML = """
CLUSTER_ENABLED = true
CLUSTER_NODE_ID = "n1"
CLUSTER_ADDRESS = "127.0.0.1"
CLUSTER_PORT = {port}
CLUSTER_BOOTSTRAP = true
CLUSTER_LEASE_DURATION = 1.0
HA_MIN_NODES = 1
HA_QUORUM_SIZE = 1
FAILOVER_ENABLED = true
FAILOVER_HEALTH_CHECK_INTERVAL = 0.5
FAILOVER_RECOVERY_WAIT_TIME = 1.0

[workload.main]
command = ["bot"]
"""


class Child:
    """A daemon of ours, and what it told its guard. Leaving the block kills it if it still runs.

    `kept`: it is a later one, and what its guard keeps; `file`: what the file holds by now.
    """

    def __init__(
        self,
        base: Path,
        port: int,
        program: tuple[str, str] = ("-m", "mltbd.main"),
        kept: bytes | None = None,
        file: str | None = None,
    ) -> None:
        self.base = base
        (base / "mltb.toml").write_text(TOML.format(port=port) if file is None else file)
        (base / "mltb.toml").chmod(0o600)
        self.path = base / "run" / "mltb" / "n1.sock"
        self.guard, theirs = channel()
        if kept is not None:
            again = {"restarts": 1, "configuration": packed(kept)}
            self.report(**{"is": "hello", "kill_path": "walk", "workloads": [], **again})
        argv = [
            sys.executable, "-P", *program, "daemon", "--config", str(base / "mltb.toml"),
            "--state-dir", str(base / "state"), "--runtime-dir", str(base / "run"),
        ]  # fmt: skip
        self._log = (base / f"log-{os.urandom(3).hex()}").open("w+")
        self.process = subprocess.Popen(
            argv, env=environment(**{FD_VARIABLE: str(theirs.fileno())}), pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL, stderr=self._log,
        )  # fmt: skip
        theirs.close()
        self.guard.settimeout(PATIENCE_S)
        self._heard: list[dict[str, Any]] = []

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        self.guard.close()
        self._log.close()

    def log(self) -> str:
        return Path(self._log.name).read_text()

    def order(self, what: str, **fields: Any) -> dict[str, Any]:
        """The next order of this kind; others are passed over."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            datagram = self.guard.recv(DATAGRAM_BYTES_MAX)
            assert datagram, self.log()
            order: dict[str, Any] = json.loads(datagram)
            if order["do"] == what and fields.items() <= order.items():
                return order
        raise AssertionError(f"no {what}: {self.log()}")

    def report(self, **body: Any) -> None:
        self.guard.send(json.dumps(body).encode())

    def met(self) -> Child:
        """As a guard would: greet it."""
        self.order("hello")
        self.report(**{"is": "hello", "kill_path": "walk", "restarts": 0, "workloads": []})
        return self

    def runs(self) -> Child:
        """Say that what it starts runs."""
        order = self.order("start")
        run = {"workload": "main", "token": order["token"], "pid": 4321, "deadline": boottime() + 0.5}
        self.report(**{"is": "running", **run})
        return self

    def ends(self) -> int:
        return self.process.wait(PATIENCE_S)


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def child(tmp_path: Path, port: int) -> Iterator[Child]:
    with Child(tmp_path, port) as child:
        yield child


def test_it_serves_while_it_runs_and_cleans_up_when_asked_to_stop(child: Child) -> None:
    child.met().runs()
    with Client(str(child.path)) as client:

        def running() -> dict[str, Any] | None:
            shown = client.status()
            return shown if shown["workloads"][0]["state"] == "RUNNING" else None

        shown = until(running, PATIENCE_S, child.log)
        assert isinstance(shown, dict)
    assert shown["cluster"]["state"] == "STABLE"
    assert shown["nodes"][0]["version"] == RELEASE
    assert shown["workloads"][0]["pid"] == 4321
    assert stat.S_IMODE(child.path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(child.path.stat().st_mode) & 0o007 == 0
    child.report(**{"is": "stop"})
    stop = child.order("stop")
    assert child.process.poll() is None, "it waits for the guard's word"
    child.report(**{"is": "gone", "workload": "main", "token": stop["token"], "cause": "stopped", "status": 0})
    assert child.ends() == EXIT_CLEAN, child.log()
    assert not child.path.exists()


def test_it_arms_before_it_starts_and_never_beyond_the_horizon(child: Child) -> None:
    hello = child.order("hello")
    assert 0 < hello["horizon"] < 1.0
    before = boottime()
    child.report(**{"is": "hello", "kill_path": "walk", "restarts": 0, "workloads": []})
    arm = child.order("arm")
    assert before < arm["deadline"] <= boottime() + hello["horizon"]
    start = child.order("start")
    assert (start["token"], start["argv"], start["env"]["MLTB_SOCKET"]) == (arm["token"], ["bot"], str(child.path))
    assert child.order("arm")["deadline"] > arm["deadline"]


def test_what_the_guard_kept_running_is_adopted_and_not_started_again(tmp_path: Path, port: int) -> None:
    with Child(tmp_path, port) as first:
        token = first.met().order("start")["token"]
        first.report(**{"is": "running", "workload": "main", "token": token, "pid": 4321, "deadline": boottime() + 0.5})
        first.order("arm")
        first.process.send_signal(signal.SIGKILL)
        first.ends()
    with Child(tmp_path, port) as second:
        second.order("hello")
        # From now on, not from before the start: what Python takes to start is not what is tried here.
        run = {"workload": "main", "token": token, "pid": 4321, "deadline": boottime() + 0.7}
        second.report(**{"is": "hello", "kill_path": "walk", "restarts": 1, "workloads": [run]})
        assert second.order("arm")["token"] == token
        second.guard.settimeout(0)

        def orders() -> list[str]:
            try:
                return [json.loads(second.guard.recv(DATAGRAM_BYTES_MAX))["do"]]
            except BlockingIOError:
                return []

        holds(lambda: set(orders()) <= {"arm"}, 1.0, "nothing but renewals")


def test_without_its_guard_it_ends(child: Child) -> None:
    child.met()
    child.guard.close()
    assert child.ends() in (EXIT_ORPHAN, EXIT_FATAL), child.log()


def test_a_second_daemon_on_one_state_directory_is_fatal(child: Child, tmp_path: Path) -> None:
    child.met().order("arm")
    with Child(tmp_path, free_port()) as second:
        assert second.ends() == EXIT_FATAL
        assert str(tmp_path / "state") in second.log()
        assert "Traceback" not in second.log()
    assert child.process.poll() is None


def test_a_journal_that_was_tampered_with_is_fatal_and_named(tmp_path: Path, port: int) -> None:
    with Child(tmp_path, port) as first:
        first.met().order("start")
    for file in (tmp_path / "state").iterdir():
        if file.is_file() and file.stat().st_size > 4096:
            with file.open("r+b") as stream:
                stream.write(os.urandom(4096))
    with Child(tmp_path, port) as second:
        assert second.ends() == EXIT_FATAL
        assert str(tmp_path / "state") in second.log()
        assert "Traceback" not in second.log()


@pytest.mark.parametrize("beside", [0, 1], ids=["gossip", "control"])
def test_a_port_that_is_taken_is_fatal_and_named(tmp_path: Path, port: int, beside: int) -> None:
    with socket.create_server(("127.0.0.1", port + beside)), Child(tmp_path, port) as child:
        assert child.ends() == EXIT_FATAL
        assert f"127.0.0.1:{port + beside}" in child.log()
        assert "Traceback" not in child.log()


def test_a_runtime_directory_that_cannot_be_made_is_fatal_and_named(tmp_path: Path, port: int) -> None:
    (tmp_path / "run").write_text("a file in its place")
    with Child(tmp_path, port) as child:
        assert child.ends() == EXIT_FATAL
        assert f"cannot serve `{child.path}`: not a directory" in child.log()
        assert "Traceback" not in child.log()


@pytest.mark.parametrize("mode", [0o755, 0o1777])
def test_a_directory_that_is_not_ours_alone_is_left_as_it_is_or_refused(tmp_path: Path, port: int, mode: int) -> None:
    """It may be /run, or /tmp, where $MLTB_SOCKET has put the socket."""
    directory = tmp_path / "run" / "mltb"
    directory.mkdir(parents=True)
    directory.chmod(mode)
    with Child(tmp_path, port) as child:
        if mode & stat.S_IWOTH:
            assert child.ends() == EXIT_FATAL
            assert "can be written by, other users" in child.log()
        else:
            child.met()
        assert stat.S_IMODE(directory.stat().st_mode) == mode


OLD = "import zmq; zmq.zmq_version_info = lambda: (4, 3, 4); from mltbd.main import main; raise SystemExit(main())"


def test_a_libzmq_that_is_too_old_is_named_and_not_tried_again(tmp_path: Path, port: int) -> None:
    with Child(tmp_path, port, ("-c", OLD)) as child:
        assert child.ends() == EXIT_CONFIG
        assert "libzmq 4.3.4 is too old" in child.log()
        assert "Traceback" not in child.log()


def test_an_unreadable_configuration_ends_with_2(tmp_path: Path, port: int) -> None:
    with Child(tmp_path, port) as child:
        pass
    (tmp_path / "mltb.toml").write_text("CLUSTER_PORT = [")
    done = subprocess.run(
        child.process.args, env=environment(), capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert (done.returncode, done.stdout) == (EXIT_CONFIG, "")
    assert "mltb.toml" in done.stderr


def test_nonsense_from_a_client_harms_nobody(child: Child) -> None:
    child.met().runs()
    with Client(str(child.path)) as client:
        until(lambda: client.status()["cluster"]["leader"] == "n1", PATIENCE_S, child.log)
        for what, node in (("asleep", None), ("leader", "\ud800"), ("leader", "n" * 1000), ("leader", "n9")):
            with pytest.raises(MltbError) as caught:
                client.verdict(what, node)
            assert caught.value.code == "usage"
        assert client.status()["cluster"]["leader"] == "n1"
    assert child.process.poll() is None
