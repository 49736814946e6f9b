"""A log that is written, compacted on disk and forgotten; and a node that was away for longer than it reaches back."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mltbctl.client import Client
from mltbd.runtime.journal import Journal
from mltbd.runtime.journal_errors import JournalError
from tests.e2e.stage import Stage
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")]

BACK_S = 90.0
WRITERS = 4
SMALL, LARGE = 2400, 300
"""Writes: many entries to forget, and much to keep in a snapshot."""
LARGE_BYTES = 32 * 1024
ROUNDS = 2
TRIES = 4
TAKES_OVER = "takes over a snapshot up to entry"


def client(stage: Stage, node: str) -> Client:
    return Client(str(stage.cluster.plans[node].socket), timeout=30)


def write(stage: Stage, node: str, rows: Iterable[tuple[str, Any]]) -> None:
    """Each of them, several at a time."""
    with client(stage, node) as asked, ThreadPoolExecutor(WRITERS) as writers:
        for entry in writers.map(lambda row: asked.state.set(*row), rows):
            assert entry.version


def busy_year(stage: Stage, node: str) -> None:
    """More than the log keeps: keys that come, change and go, locks, and an event."""
    write(stage, node, ((f"small/{number % 97}", number) for number in range(SMALL)))
    for turn in range(ROUNDS):
        write(stage, node, ((f"large/{number}", f"{turn} " + "x" * LARGE_BYTES) for number in range(LARGE)))
    with client(stage, node) as asked:
        for number in range(10):
            asked.state.delete(f"small/{number}")
            asked.locks.acquire(f"lock/{number}", ttl=3600, holder=f"holder {number}")
        asked.pause(reason="a busy year")
        asked.resume()


def told_by(stage: Stage, node: str) -> dict[str, Any]:
    """Everything of the replicated state that one node tells by itself."""
    with client(stage, node) as asked:
        entries = {entry.key: (entry.value, entry.version) for entry in asked.state.list(stale=True)}
        locks = [(lock["name"], lock["token"], lock["holder"]) for lock in asked.locks.list(stale=True)]
        return {"entries": entries, "locks": sorted(locks), "events": asked.events(newest=100)["events"]}


def applied(stage: Stage, node: str) -> int:
    """How far its state is, and that of the others as far as it knows; 0 while it cannot tell."""
    picture = stage.status(node)
    if not picture or not picture["cluster"]["leader"]:
        return 0
    return next(int(member["applied_index"]) for member in picture["nodes"] if member["id"] == node)


def kept(stage: Stage, node: str) -> tuple[int, int]:
    """The first and the last entry in the journal of a node that has stopped."""
    failures: list[JournalError] = []
    journal, recovered = Journal.open(stage.cluster.plans[node].directory / "state", node, failures.append)
    journal.close()
    assert not failures
    assert recovered.snapshot is not None
    return recovered.entries[0].index, recovered.last_index


class Log:
    """What a node writes from now on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._begins = path.stat().st_size

    def __contains__(self, words: str) -> bool:
        return words in self._path.read_bytes()[self._begins :].decode(errors="replace")


def cut_off_in_the_middle(stage: Stage, away: str) -> None:
    """It comes back, is sent the snapshot, and dies before it has it whole. Where it was quicker, it begins anew."""
    plan = stage.cluster.plans[away]
    for _ in range(TRIES):
        log = Log(plan.log)
        stage.cluster.start(away)
        until(lambda log=log: "follows" in log, BACK_S, stage.picture)  # type: ignore[misc]
        stage.cluster.kill(away)
        if TAKES_OVER not in log:
            return
        shutil.rmtree(plan.directory / "state")
        (plan.directory / "state").mkdir(mode=0o700)
    raise AssertionError(f"{TRIES} times it was quicker\n{stage.logs()}")


def test_a_node_that_was_away_for_longer_than_the_log_gets_the_snapshot(tmp_path: Path) -> None:
    with Stage(tmp_path, 3, CLUSTER_NODE_TIMEOUT=6, CLUSTER_HEARTBEAT_INTERVAL=1) as stage:
        leads = until(stage.leader, BACK_S, stage.picture)
        away = stage.others(leads, stage.owner() or "")[-1]
        others = stage.others(away)
        plan = stage.cluster.plans[away]
        known = until(lambda: applied(stage, away), BACK_S, stage.picture)
        stage.cluster.kill(away)
        busy_year(stage, others[0])

        cut_off_in_the_middle(stage, away)
        log = Log(plan.log)
        stage.cluster.start(away)
        until(lambda: TAKES_OVER in log, BACK_S, stage.picture)
        expected = told_by(stage, others[0])
        assert len(expected["entries"]) == LARGE + 97 - 10
        assert len(expected["locks"]) == 10
        until(lambda: applied(stage, away) >= applied(stage, others[0]) > 0, BACK_S, stage.picture)
        until(lambda: told_by(stage, away) == told_by(stage, others[0]), BACK_S, stage.picture)
        assert told_by(stage, away)["entries"] == expected["entries"]
        assert told_by(stage, away)["locks"] == expected["locks"]
        end = applied(stage, away)
        stage.cluster.stop()
        for node in others:
            begins, ends = kept(stage, node)
            assert known < begins, "what the other one had missed was on no disk any more"
            assert ends >= end
