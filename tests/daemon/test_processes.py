"""The process table and signals to the right process."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess

from hypothesis import given
from hypothesis import strategies as st

from mltbd.processes import MARK, Process, descendants, group_exists, has_mark, process, processes, send
from tests.waiting import until


def test_the_table_has_this_process_and_its_child() -> None:
    with subprocess.Popen(["sleep", "600"]) as child:
        table = processes()
        below = descendants([os.getpid()], table)
        assert {os.getpid(), child.pid} <= {row.pid for row in below}
        child.kill()


def test_there_is_no_process_zero() -> None:
    assert process(0) is None


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 30)), max_size=40))
def test_descendants_are_what_a_dumb_search_finds(pairs: list[tuple[int, int]]) -> None:
    table = [Process(pid, parent, 0) for pid, parent in dict(pairs).items()]
    found = {1} & {row.pid for row in table}
    while more := {row.pid for row in table if row.parent in found} - found:
        found |= more
    assert {row.pid for row in descendants([1], table)} == found


def test_a_mark_is_found_by_its_beginning_alone() -> None:
    with subprocess.Popen(["sleep", "600"], env={"A": f"{MARK}=no", MARK: "ab.cd.1"}) as child:
        until(lambda: has_mark(child.pid, "ab."))
        assert has_mark(child.pid, "ab.cd.1")
        assert not has_mark(child.pid, "b.")
        assert not has_mark(child.pid, "no")
        child.kill()


def test_a_signal_spares_a_later_process_with_the_same_pid() -> None:
    with subprocess.Popen(["sleep", "600"]) as child:
        row = until(lambda: process(child.pid))
        send(dataclasses.replace(row, started=row.started - 1), signal.SIGTERM)
        send(row, signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
    assert not row.lives()
    send(row, signal.SIGKILL)


def test_a_group_exists_until_its_last_member_is_reaped() -> None:
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as child:
        assert group_exists(child.pid)
        child.kill()
        child.wait()
        assert not group_exists(child.pid)
