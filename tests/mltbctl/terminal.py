"""Runs the command line: inside this process for speed, or as a process, on a pipe or on a real pseudo-terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import pytest

from tests.waiting import until

ROOT = Path(__file__).parent.parent.parent
DEADLINE_S = 15.0
_ESCAPE = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07)")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str


def run_here(capsys: pytest.CaptureFixture[str], *arguments: str) -> Outcome:
    """The command line inside this process; stdout and stderr are no terminals."""
    from mltbctl.cli import app

    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        app(list(arguments))
    caught = capsys.readouterr()
    return Outcome(int(ended.value.code or 0), caught.out, caught.err)


def environment(**changes: str) -> dict[str, str]:
    """That of this process without anything that steers the command line, and `changes`."""
    steering = ("MLTB", "CLUSTER_", "PYTHON", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LC_", "LANG", "TERM")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(steering)}
    paths = os.pathsep.join(str(path) for path in (ROOT, ROOT / "daemon", ROOT / "transport"))
    return kept | {"PYTHONPATH": paths, "LANG": "C.UTF-8", "TERM": "xterm-256color"} | changes


def run_process(*arguments: str, environ: Mapping[str, str]) -> Outcome:
    """The command line as a process with pipes; stdin is empty."""
    done = subprocess.run(
        [sys.executable, "-m", "mltbctl", *arguments],
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=DEADLINE_S,
        check=False,
    )
    return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())


class Terminal:
    """The command line on a pseudo-terminal of `columns` x `rows`; `seen` holds all it has written."""

    def __init__(self, *arguments: str, environ: Mapping[str, str], columns: int = 80, rows: int = 24) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mltbctl", *arguments],
            env=dict(environ),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self.seen = ""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        if self._master >= 0:
            os.close(self._master)

    @property
    def text(self) -> str:
        """What was written, without escape sequences."""
        return _ESCAPE.sub("", self.seen).replace("\r\n", "\n")

    def type(self, keys: str) -> None:
        """Press these keys; `\\x03` is Ctrl-C, pressed once the command waits for something.

        A signal that comes between CPython's last look for signals and the system call it waits in is seen only when
        that call ends: a person would press again.
        """
        until(self._waits, DEADLINE_S, "the command waits")
        os.write(self._master, keys.encode())

    def wait_for(self, words: str) -> None:
        """Read on until `words` have been written."""
        deadline = time.monotonic() + DEADLINE_S
        while words not in self.text:
            assert self._read(deadline), f"never saw {words!r} in {self.text!r}"

    def hang_up(self) -> None:
        """The line to whoever sits there is cut."""
        os.close(self._master)
        self._master = -1

    def end(self) -> int:
        """Read to the end; returns the exit code."""
        deadline = time.monotonic() + DEADLINE_S
        while self._read(deadline):
            pass
        return self._process.wait(max(0.1, deadline - time.monotonic()))

    def _waits(self) -> bool:
        """Whether its main thread sleeps in a system call, or has ended."""
        try:
            state = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        return state in "SZX"

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return False
        try:
            written = os.read(self._master, 65_536)
        except OSError:
            return False  # The other end is closed: the process is gone.
        self.seen += written.decode(errors="replace")
        return bool(written)
