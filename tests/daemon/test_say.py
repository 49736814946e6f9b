"""A word to stderr: whole lines, cut where they are long, and never a wait for whoever reads there."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mltbd.say import LINE_BYTES_MAX
from tests.daemon.guarded import ROOT

CODE = "from mltbd.say import say; say('guard', 'x' * {}); print('on')"


def said(stderr: int, count: int) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(count)], env={**os.environ, "PYTHONPATH": str(ROOT / "daemon")},
        stdout=subprocess.PIPE, stderr=stderr, text=True, check=True, timeout=30,
    )  # fmt: skip
    return done.stdout, done.stderr or ""


def test_a_line_says_who_speaks_and_has_a_limit() -> None:
    assert said(subprocess.PIPE, 3) == ("on\n", "guard: xxx\n")
    assert len(said(subprocess.PIPE, LINE_BYTES_MAX)[1]) == LINE_BYTES_MAX


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
