"""`lock run` as a process under test, and a command with a child that is hard to end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from mltbctl.process_table import below, process
from tests.mltbctl.terminal import DEADLINE_S, Outcome, environment
from tests.waiting import until

PYTHON = sys.executable
# A command and a child that left its session and ignores SIGTERM; both write pid and time again and again.
FAMILY = """
import os, signal, sys, time
name = "root"
if os.fork() == 0:
    os.setsid()
    name = "child"
if name == "child" or len(sys.argv) > 2:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
file = os.open(sys.argv[1] + "." + name, os.O_CREAT | os.O_WRONLY)
while True:
    os.pwrite(file, f"{os.getpid():9d} {time.clock_gettime(time.CLOCK_BOOTTIME):20.6f}".encode(), 0)
    time.sleep(0.005)
"""


class Held:
    """One `lock run`, or another `command` of `lock`, under test; what is left of it is killed at the end."""

    def __init__(
        self, runtime: Path, *arguments: str, environ: Mapping[str, str] | None = None, command: str = "run"
    ) -> None:
        self.process = subprocess.Popen(
            [PYTHON, "-m", "mltbctl", "lock", command, *arguments],
            env=environment(MLTB_RUNTIME_DIR=str(runtime)) if environ is None else dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        self.pids: list[int] = []

    def family(self, mark: Path) -> list[int]:
        """The pids that FAMILY wrote, once it runs; with the watcher first."""
        until(lambda: all(file.exists() and file.read_text() for file in files(mark)), DEADLINE_S, "the command runs")
        pids = [int(file.read_text().split()[0]) for file in files(mark)]
        root = process(pids[0])
        assert root is not None
        self.pids = [root.parent, *pids]
        return self.pids

    def end(self) -> Outcome:
        out, err = self.process.communicate(timeout=60)
        return Outcome(self.process.returncode, out, err)

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *_: object) -> None:
        left = [row.pid for row in below(self.process.pid)]
        for pid in [self.process.pid, *left, *self.pids]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.communicate()


def in_a_session(runtime: Path, shell: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the Python text `shell` as the first process of a session, as the shell is that starts jobs."""
    return subprocess.run(
        [PYTHON, "-c", shell, *words],
        env=environment(MLTB_RUNTIME_DIR=str(runtime)), capture_output=True, text=True, timeout=60, check=False,
        start_new_session=True,
    )  # fmt: skip


def files(mark: Path) -> list[Path]:
    return [Path(f"{mark}.{name}") for name in ("root", "child")]


def last_sign(mark: Path) -> float:
    """When one of FAMILY was last seen alive, by its own clock."""
    return max(float(file.read_text().split()[1]) for file in files(mark))


def lives(pid: int) -> bool:
    row = process(pid)
    return row is not None and not row.is_zombie


def gone(pids: list[int]) -> bool:
    return not any(lives(pid) for pid in pids)


def run(runtime: Path, *arguments: str) -> Outcome:
    with Held(runtime, *arguments) as held:
        return held.end()
