"""A real guard in a process of its own, and the means to drive it and to see what lives and dies."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import resource
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from mltbd.processes import Process, boottime_s, descendants, mark_of, marked, process, processes
from mltbd.tree import clear
from tests.waiting import PATIENCE_S, until

ROOT = Path(__file__).parents[2]


def state(pid: int) -> str:
    """The letter `ps` shows; `-` for no process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "-"


def threads(pid: int) -> int:
    """How many it has, its first one included; 0 for no process."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[17])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def alive(row: Process) -> bool:
    """Whether it can still do anything: a zombie cannot, unless one of its threads works on."""
    return row.lives() and (state(row.pid) not in "ZX-" or threads(row.pid) > 1)


class Guarded:
    """The guard under test. Leaving the block ends it, and demands that nothing of it is left.

    `alone`: it does not belong to our terminal. `stderr`: in place of the file `errors`.
    """

    def __init__(
        self,
        base: Path,
        kill_path: str | None = None,
        horizon_s: float = 60.0,
        *,
        alone: bool = False,
        stderr: int | None = None,
    ) -> None:
        self.base = base
        self.state_dir = base / "state"
        self.horizon_s = horizon_s
        self.relay_pid = 0
        self.hello: dict[str, Any] = {}
        self.errors = base / f"stderr-{os.urandom(3).hex()}"
        self._seen: list[dict[str, Any]] = []
        self._relay: socket.socket | None = None
        name = f"mltb-test-{os.urandom(8).hex()}"
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind("\0" + name)
        self._listener.listen()
        self._listener.settimeout(PATIENCE_S)
        relay = Path(__file__).with_name("guard_relay.py")
        env = {**os.environ, "PYTHONPATH": str(ROOT / "daemon"), "MLTB_KILL_PATH": kill_path or ""}
        argv = [sys.executable, "-P", "-m", "mltbd.guard", str(self.state_dir), sys.executable, str(relay), name]
        with self.errors.open("wb") as errors:
            self.guard = subprocess.Popen(
                argv, env=env, stderr=stderr or errors, stdin=subprocess.DEVNULL, start_new_session=alone
            )

    def __enter__(self) -> Guarded:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        family = descendants([self.guard.pid], processes())[1:]
        self.guard.kill()
        self.guard.wait()
        mark = mark_of(str(self.state_dir))
        try:
            with contextlib.suppress(AssertionError):
                until(lambda: not marked(mark) and not any(map(alive, family)), 5.0)
            left = [row for row in (*marked(mark), *family) if alive(row)]
            clear(mark, (), 1.0, left)
            assert kind is not None or not left, f"left behind: {left}"
        finally:
            self._listener.close()
            if self._relay:
                self._relay.close()
        if kind is not None:
            sys.stderr.write(self.errors.read_text())

    # -- as the daemon

    def meet(self, *, greets: bool = True) -> Guarded:
        """Take the part of the next life of the daemon, up to both hellos; its own only if it `greets`."""
        if self._relay:
            self._relay.close()
        self._seen.clear()
        self._relay = self._listener.accept()[0]
        self._relay.settimeout(PATIENCE_S)
        self.relay_pid = json.loads(self._relay.recv(4096))["pid"]
        self.hello = self.news("hello")
        if greets:
            self.order(do="hello", horizon=self.horizon_s, patience=3.0)
        return self

    def order(self, **body: Any) -> None:
        self.send(json.dumps(body).encode())

    def send(self, datagram: bytes) -> None:
        assert self._relay
        self._relay.send(datagram)

    def passed_on(self) -> bool:
        """Whether all that was sent is on its way to the guard."""
        assert self._relay
        unread = struct.unpack("i", fcntl.ioctl(self._relay, termios.TIOCOUTQ, b"\0" * 4))[0]
        return unread == 0 and state(self.relay_pid) == "S"

    def news(self, kind: str, patience_s: float = PATIENCE_S) -> dict[str, Any]:
        """The next message of this kind; others are kept for later."""
        assert self._relay
        end = time.monotonic() + patience_s
        while True:
            for message in self._seen:
                if message["is"] == kind:
                    self._seen.remove(message)
                    return message
            self._relay.settimeout(max(0.001, end - time.monotonic()))
            self._seen.append(json.loads(self._relay.recv(1 << 17)))

    def arm(self, seconds: float, token: int = 1, workload: str = "main") -> float:
        """Arms for so long from now; the deadline."""
        deadline = boottime_s() + seconds
        self.order(do="arm", workload=workload, token=token, deadline=deadline)
        return deadline

    def start(self, argv: list[str], token: int = 1, workload: str = "main", **more: Any) -> None:
        body = {"cwd": None, "env": dict(os.environ), "stop_timeout": 1.0, "grace": 0.0, **more}
        self.order(do="start", workload=workload, token=token, argv=argv, **body)

    def run(self, argv: list[str], seconds: float = 30.0, **more: Any) -> Process:
        """Arms and starts it; its first process."""
        self.arm(seconds, more.get("token", 1), more.get("workload", "main"))
        self.start(argv, **more)
        row = process(self.news("running")["pid"])
        assert row
        return row

    # -- as a bystander

    def sentinel(self) -> Process:
        """The guard's other child."""
        return until(lambda: next(self._sentinels(), None))

    def _sentinels(self) -> Iterator[Process]:
        for pid in Path(f"/proc/{self.guard.pid}/task/{self.guard.pid}/children").read_text().split():
            row = process(int(pid))
            if row and Path(f"/proc/{pid}/comm").read_text().strip() == "mltb-sentinel":
                yield row

    @contextlib.contextmanager
    def without_files(self) -> Iterator[None]:
        """The guard can open none more, as when the system's table of files is full."""
        pid = self.guard.pid
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        used = {int(fd) for fd in os.listdir(f"/proc/{pid}/fd")}
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (min(set(range(len(used) + 1)) - used), before[1]))
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_NOFILE, before)

    def written(self, name: str) -> Process:
        """The process whose pid a workload wrote to this file."""
        path = self.base / name
        pid = int(until(lambda: path.read_text() if path.exists() else None))
        row = process(pid)
        assert row, f"pid {pid} of {name} is gone already"
        return row
