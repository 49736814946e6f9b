"""A word to stderr: whole lines, cut where they are long, and never a wait for whoever reads there."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mltbd.say import LINE_BYTES_MAX
from tests.daemon.guarded import ROOT

CODE = "from mltbd.say import say; [say('guard', 'x' * {}) for _ in range({})]; print('on')"


def said(stderr: int, count: int, lines: int = 1) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(count, lines)], env={**os.environ, "PYTHONPATH": str(ROOT / "daemon")},
        stdout=subprocess.PIPE, stderr=stderr, text=True, check=True, timeout=30,
    )  # fmt: skip
    return done.stdout, done.stderr or ""


def test_a_line_says_who_speaks_and_has_a_limit() -> None:
    assert said(subprocess.PIPE, 3) == ("on\n", "guard: xxx\n")
    long = said(subprocess.PIPE, LINE_BYTES_MAX, 2)[1].splitlines(keepends=True)
    assert [(len(line), line[-1]) for line in long] == [(LINE_BYTES_MAX, "\n")] * 2


@pytest.mark.parametrize("closed", [True, False])
def test_where_nobody_reads_it_goes_on(closed: bool) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while os.write(writer, b"x" * 4096):
            pass
    except BlockingIOError:
        os.set_blocking(writer, True)
    if closed:
        os.close(reader)
    assert said(writer, 3)[0] == "on\n"
    os.close(writer)
    if not closed:
        os.close(reader)


@pytest.mark.parametrize("count", [20, 100, 1000])
@pytest.mark.parametrize("kind", ["terminal", "stream", "datagrams"])
def test_what_says_it_is_ready_and_is_not_for_a_whole_line_holds_up_nobody(kind: str, count: int) -> None:
    if kind == "terminal":
        ends = os.openpty()
    else:
        pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM if kind == "stream" else socket.SOCK_DGRAM)
        ends = (pair[0].detach(), pair[1].detach())
    try:
        assert said(ends[1], count, 1000)[0] == "on\n"
        assert os.read(ends[0], 4096).startswith(b"guard: xxx")
    finally:
        for end in ends:
            os.close(end)


HALVES = """
import os
from mltbd.say import write
while write(b"x" * 9999 + b"\\n"):
    pass
os.read(0, 1 << 20)
print(write(b"next\\n"), write(b"last\\n"))
"""


@pytest.mark.parametrize("limit", ["", "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))"])
def test_what_follows_half_a_line_begins_a_new_one(limit: str) -> None:
    reader, writer = os.pipe()
    done = subprocess.run(
        [sys.executable, "-c", HALVES.replace("while", f"{limit}\nwhile")],
        env={**os.environ, "PYTHONPATH": str(ROOT / "daemon")},
        stdin=reader, stdout=subprocess.PIPE, stderr=writer, text=True, check=True, timeout=30,
    )  # fmt: skip
    assert done.stdout == "True True\n"
    assert os.read(reader, 4096) == b"\nnext\nlast\n"
    os.close(reader)
    os.close(writer)


BLIND = """
import resource
from mltbd.say import write
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
for _ in range(100):
    write(b"x" * 5999 + b"\\n")
print("on")
"""


@pytest.mark.parametrize("kind", ["pipe", "terminal"])
def test_what_cannot_be_opened_anew_holds_up_nobody_either(kind: str) -> None:
    """A pipe or a terminal of another user; here no file can be opened at all."""
    ends = os.openpty() if kind == "terminal" else os.pipe()
    try:
        done = subprocess.run(
            [sys.executable, "-c", BLIND], env={**os.environ, "PYTHONPATH": str(ROOT / "daemon")},
            stdout=subprocess.PIPE, stderr=ends[1], text=True, check=True, timeout=30,
        )  # fmt: skip
        assert done.stdout == "on\n"
        assert os.read(ends[0], 4096).startswith(b"xxx")
    finally:
        for end in ends:
            os.close(end)


def test_in_a_file_it_comes_after_what_others_wrote_there(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file:
        file.write(b"first\n")
        file.flush()
        said(file.fileno(), 3)
        file.write(b"last\n")
    assert (tmp_path / "log").read_text() == "first\nguard: xxx\nlast\n"
