"""`status --watch` and the streams of a real process: in place on a terminal, one by one elsewhere."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mltbctl.commands.status import verdict
from mltbctl.result import ExitCode
from tests.mltbctl import pictures
from tests.mltbctl.fake_daemon import FakeDaemon
from tests.mltbctl.terminal import DEADLINE_S, Terminal, environment, run_process

Serve = Callable[..., FakeDaemon]


def test_verdict() -> None:
    assert verdict(pictures.healthy()) == ExitCode.DONE
    assert verdict(pictures.unreachable_node()) == ExitCode.DEGRADED
    assert verdict(pictures.no_quorum()) == ExitCode.REFUSED


def test_watch_redraws_in_place_and_gives_the_screen_back(serve: Serve, runtime: Path) -> None:
    daemon = serve(status=lambda _: pictures.healthy())
    environ = environment(MLTB_RUNTIME_DIR=str(runtime))
    with Terminal("status", "--watch", "0.1", environ=environ) as terminal:
        terminal.wait_for("every 0.1 s, Ctrl-C ends")
        terminal.seen = terminal.seen.replace("every 0.1 s", "")
        terminal.wait_for("every 0.1 s, Ctrl-C ends")  # A second picture came.
        terminal.type("\x03")
        assert terminal.end() == 130
        assert terminal.seen.startswith("\x1b[?1049h\x1b[?25l")
        assert terminal.seen.rstrip("^C").endswith("\x1b[?25h\x1b[?1049l")
        assert "\x1b[32m● leader\x1b[0m" in terminal.seen
    assert len(daemon.calls) >= 3


def test_watch_without_a_number_and_on_a_pipe(serve: Serve, runtime: Path) -> None:
    serve(status=lambda _: pictures.healthy())
    process = subprocess.Popen(
        [sys.executable, "-m", "mltbctl", "status", "-o", "json", "--watch"],
        env=environment(MLTB_RUNTIME_DIR=str(runtime)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert json.loads(line)["schema"] == 1
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == 130
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_watch_tells_of_a_daemon_that_goes_away(runtime: Path) -> None:
    with FakeDaemon(runtime / "mltb" / "n2.sock", {"status": lambda _: pictures.healthy()}) as daemon:
        process = subprocess.Popen(
            [sys.executable, "-m", "mltbctl", "--timeout", "0.3", "status", "--watch", "0.1"],
            env=environment(MLTB_RUNTIME_DIR=str(runtime)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"homelab")
        assert daemon.calls
    with process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith(b"error: ")
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == 130


def test_a_reader_that_goes_away_is_no_failure(serve: Serve, runtime: Path) -> None:
    serve(status=lambda _: pictures.healthy())
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.Popen(
        [sys.executable, "-m", "mltbctl", "status"],
        env=environment(MLTB_RUNTIME_DIR=str(runtime)),
        stdout=writing,
        stderr=subprocess.PIPE,
    )
    os.close(writing)
    _, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, err) == (0, b"")


def test_ascii_terminals_get_ascii(serve: Serve, runtime: Path) -> None:
    serve(status=lambda _: pictures.healthy())
    environ = environment(MLTB_RUNTIME_DIR=str(runtime), PYTHONIOENCODING="ascii")
    outcome = run_process("status", environ=environ)
    assert (outcome.code, outcome.out.isascii()) == (0, True)
    assert "* leader" in outcome.out


def test_pipes_get_no_escape_codes_and_terminals_their_width(serve: Serve, runtime: Path) -> None:
    serve(status=lambda _: pictures.healthy())
    environ = environment(MLTB_RUNTIME_DIR=str(runtime))
    assert "\x1b" not in run_process("status", environ=environ).out
    for columns in (80, 140):
        with Terminal("status", environ=environ, columns=columns) as terminal:
            assert terminal.end() == 0
            assert max(map(len, terminal.text.split("\n"))) <= columns
            assert ("RTT" in terminal.text) == (columns == 140)
    with Terminal("status", environ=environ | {"NO_COLOR": "1"}) as terminal:
        assert terminal.end() == 0
        assert "\x1b" not in terminal.seen


@pytest.mark.parametrize("output", ["json", "table"])
def test_watch_ends_with_its_reader(serve: Serve, runtime: Path, output: str) -> None:
    serve(status=lambda _: pictures.healthy())
    process = subprocess.Popen(
        [sys.executable, "-m", "mltbctl", "status", "-o", output, "--watch", "0.1"],
        env=environment(MLTB_RUNTIME_DIR=str(runtime)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(DEADLINE_S) == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""
