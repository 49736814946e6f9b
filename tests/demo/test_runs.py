"""The run records and the checker: planted overlaps are found, lives that follow each other are not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltbctl.demo import runs as module
from mltbctl.demo.runs import BEAT_S, Run, RunRecord, RunRecordError, now_ns, overlaps, read_runs
from tests.demo.api_client import until

BEATER = """
import sys, time
from pathlib import Path
from mltbctl.demo.runs import RunRecord
record = RunRecord(Path(sys.argv[1]), sys.argv[2], 7)
record.keep_beating()
print("up", flush=True)
time.sleep(60)
"""


def run(pid: int, first: int, last: int, node: str = "n1") -> Run:
    return Run(node, pid, pid, first, last)


def beater(directory: Path, node: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", BEATER, str(directory), node], stdout=subprocess.PIPE, env=environment
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    return process


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def test_a_record_is_read_back(tmp_path: Path) -> None:
    record = RunRecord(tmp_path, "n1", 42)
    (before,) = read_runs(tmp_path)
    record.beat()
    (after,) = read_runs(tmp_path)
    record.beat()
    (last,) = read_runs(tmp_path)
    record.close()
    assert 0 < last.gap_ns >= after.gap_ns == after.last_ns - before.last_ns
    assert (after.node, after.token, after.pid) == ("n1", 42, os.getpid())
    assert before.first_ns == before.last_ns == after.first_ns < after.last_ns <= now_ns()


def test_a_killed_process_leaves_its_last_instant(tmp_path: Path) -> None:
    process = beater(tmp_path, "n1")
    began = now_ns()
    while read_runs(tmp_path)[0].last_ns < began + 20 * BEAT_S * 1e9:
        assert now_ns() < began + 10e9
    killed_at = now_ns()
    kill(process)
    (found,) = read_runs(tmp_path)
    assert found.pid == process.pid
    # Generous for a busy machine; the thread that stamps needs its turn.
    assert killed_at - found.last_ns < 0.5e9
    assert found.last_ns <= now_ns()


def test_two_living_processes_overlap_and_a_successor_does_not(tmp_path: Path) -> None:
    first = beater(tmp_path, "n1")
    second = beater(tmp_path, "n2")
    try:
        until("they are seen together", lambda: len(overlaps(read_runs(tmp_path))) == 1)
        (found,) = overlaps(read_runs(tmp_path))
        assert (found.first.node, found.second.node) == ("n1", "n2")
    finally:
        kill(first)
        kill(second)
    third = beater(tmp_path, "n3")
    kill(third)
    assert [found.second.node for found in overlaps(read_runs(tmp_path))] == ["n2"]


def test_a_stopped_process_that_wakes_up_beside_its_successor_is_found(tmp_path: Path) -> None:
    first = beater(tmp_path, "n1")
    first.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, first.pid, os.WSTOPPED | os.WEXITED)
    second = beater(tmp_path, "n2")
    try:
        assert overlaps(read_runs(tmp_path)) == []
        first.send_signal(signal.SIGCONT)
        deadline = time.monotonic() + 10
        while not overlaps(read_runs(tmp_path)):
            assert time.monotonic() < deadline
    finally:
        kill(first)
        kill(second)


@pytest.mark.parametrize(
    ("lives", "count"),
    [
        ([run(1, 0, 10), run(2, 11, 20)], 0),
        ([run(1, 0, 10), run(2, 10, 20)], 1),  # One shared instant is one too many.
        ([run(1, 0, 100), run(2, 10, 20), run(3, 30, 40)], 2),
        ([run(1, 0, 100), run(2, 10, 90), run(3, 20, 80)], 3),
        ([run(1, 0, 10, "n1"), run(2, 5, 20, "n1")], 1),  # Also on one node.
        ([], 0),
    ],
)
def test_planted_lives(lives: list[Run], count: int) -> None:
    assert len(overlaps(lives)) == len(overlaps(reversed(lives))) == count


def test_an_overlap_says_how_long() -> None:
    (found,) = overlaps([run(1, 0, 3_000_000_000), run(2, 1_000_000_000, 9_000_000_000)])
    assert found.seconds == 2.0


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20)), max_size=12))
def test_it_agrees_with_comparing_every_pair(spans: list[tuple[int, int]]) -> None:
    lives = [run(pid + 1, first, first + length) for pid, (first, length) in enumerate(spans)]
    expected = {
        frozenset((a.pid, b.pid))
        for a, b in combinations(lives, 2)
        if a.first_ns <= b.last_ns and b.first_ns <= a.last_ns
    }
    assert {frozenset((found.first.pid, found.second.pid)) for found in overlaps(lives)} == expected


@pytest.mark.parametrize("content", [b"", b"x" * 255, b"\0" * 256, b"\xff" * 256])
def test_a_damaged_record_is_an_error_that_names_it(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "1-1.run").write_bytes(content)
    with pytest.raises(RunRecordError, match=r"1-1\.run"):
        read_runs(tmp_path)


def test_a_name_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="longer than"):
        RunRecord(tmp_path, "n" * 193, 1)
    assert list(tmp_path.iterdir()) == []


def test_too_many_runs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RUNS_MAX", 2)
    for token in range(3):
        RunRecord(tmp_path, "n1", token).close()
    with pytest.raises(RunRecordError, match="more than 2"):
        read_runs(tmp_path)
