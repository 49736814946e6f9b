"""Locks and state on real nodes, through the SDK and the command line, while the leader's machine is lost."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import tomllib
from pathlib import Path
from typing import Any

import pytest

from mltbctl.client import AsyncClient, Client, Conflict, LockNotAcquired, MltbError, Refused, UnknownOutcome
from tests.e2e.stage import Stage
from tests.mltbctl.terminal import environment, run_here, run_process
from tests.test_readme_examples import commands, program
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")]

PATIENT_S = 60.0
# Writes begin and end of its work into one file that all share, with the token in between.
WORK = """
import os, sys, time
def note(word):
    line = f"{word} {os.environ['MLTB_LOCK_TOKEN']} {time.clock_gettime(time.CLOCK_BOOTTIME):.6f}\\n"
    file = os.open(sys.argv[1], os.O_APPEND | os.O_CREAT | os.O_WRONLY)
    os.write(file, line.encode())
note("begin")
time.sleep(0.2)
note("end")
"""


def socket_of(stage: Stage, node: str) -> str:
    return str(stage.cluster.plans[node].socket)


def test_the_readme_on_real_nodes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Stage(tmp_path, 3) as stage:
        follower = stage.others(stage.leader() or "")[0]
        monkeypatch.setenv("MLTB_SOCKET", socket_of(stage, follower))
        for words in commands():
            words = ["--timeout", "20", *words]
            if "run" in words:
                outcome = run_process(*words, environ=environment(MLTB_SOCKET=socket_of(stage, follower)))
                assert outcome.out.startswith("backing up with token "), outcome
            else:
                outcome = run_here(capsys, *words)
            assert outcome.code == 0, (words, outcome, stage.logs())
        exec(compile(program(), "README.md", "exec"), {})
        assert len(capsys.readouterr().out.splitlines()) >= 3
        asyncio.run(asyncio.wait_for(_many_at_once(socket_of(stage, follower)), PATIENT_S))
        _take_turns(stage, tmp_path / "work")
        _stop_waiting(stage, follower)
        _from_elsewhere(stage)


async def _many_at_once(path: str) -> None:
    async with AsyncClient(path, timeout=20) as node:
        entries = await asyncio.gather(*(node.state.set(f"many/{number}", number) for number in range(32)))
        assert len({entry.revision for entry in entries}) == 32
        listed = await node.state.list("many/")
        assert sorted(entry.value for entry in listed) == list(range(32))
        stale = await node.state.get("many/7", stale=True)
        assert stale is None or stale.age_seconds is not None


def _take_turns(stage: Stage, work: Path) -> None:
    """One command on each node, all for the same lock, at the same time."""
    lock_run = ["mltbctl", "--timeout", "20", "lock", "run", "turns", "--wait", str(PATIENT_S), "--"]
    runs = [
        subprocess.Popen(
            [sys.executable, "-m", *lock_run, sys.executable, "-c", WORK, str(work)],
            env=environment(MLTB_SOCKET=socket_of(stage, node)),
        )
        for node in [*stage.cluster.nodes] * 2
    ]
    assert [run.wait(PATIENT_S) for run in runs] == [0] * len(runs)
    lines = [line.split() for line in work.read_text().splitlines()]
    assert [word for word, _, _ in lines] == ["begin", "end"] * len(runs), "one after the other"
    tokens = [int(token) for _, token, _ in lines[::2]]
    assert tokens == sorted(set(tokens)), "each with a higher token"


def _stop_waiting(stage: Stage, follower: str) -> None:
    """Who is stopped while it waits leaves the line."""
    with Client(socket_of(stage, follower), timeout=20) as node:
        held = node.locks.acquire("line", ttl=60)

        def waiters() -> int:
            shown = node.locks.show("line")
            return len(shown["waiters"]) if shown else -1

        waiting = subprocess.Popen(
            [sys.executable, "-m", "mltbctl", "lock", "run", "line", "--wait", "60", "--", "true"],
            env=environment(MLTB_SOCKET=socket_of(stage, follower)),
        )
        try:
            until(lambda: waiters() == 1, PATIENT_S, "it waits")
            waiting.terminate()
            assert waiting.wait(PATIENT_S) == 143
        finally:
            waiting.kill()
            waiting.wait()
        until(lambda: waiters() == 0, PATIENT_S, "it has left")
        assert node.locks.release(held)


def _from_elsewhere(stage: Stage) -> None:
    """Over TCP with the secret; an endpoint where nobody is costs nothing but time."""
    plans = list(stage.cluster.plans.values())
    secret = tomllib.loads(plans[0].config.read_text())["CLUSTER_SECRET"]
    with Client("127.0.0.1:1", *(f"{plan.host}:{plan.port + 1}" for plan in plans), secret=secret, timeout=20) as node:
        assert node.state.set("far", [1]).version == 1
        with node.lock("far", ttl=30) as lock:
            assert node.state.set("far", [2], token=lock.held).version == 2


class Counter(threading.Thread):
    """Counts up a shared key under compare-and-swap until told to stop."""

    def __init__(self, endpoints: list[str]) -> None:
        super().__init__()
        self.endpoints = endpoints
        self.sure = self.unsure = 0
        self.trouble: list[str] = []
        self.ending = threading.Event()

    def run(self) -> None:
        with Client(*self.endpoints, timeout=10) as node:
            while not self.ending.is_set():
                try:
                    self.count(node)
                except UnknownOutcome:
                    self.unsure += 1
                except MltbError as error:
                    self.trouble.append(f"{error.code}: {error.message}")

    def count(self, node: Client) -> None:
        found = node.state.get("counter")
        version, value = (found.version, found.value) if found else (0, 0)
        if not isinstance(node.state.compare_and_swap("counter", version, value + 1), Conflict):
            self.sure += 1


def test_nothing_is_lost_and_nothing_done_twice_when_the_leader_is_lost(tmp_path: Path) -> None:
    with Stage(tmp_path, 3) as stage:
        leader = stage.leader()
        assert leader
        others = [socket_of(stage, node) for node in stage.others(leader)]
        counters = [Counter([socket_of(stage, leader), *others]), Counter(others), Counter(others[::-1])]
        for counter in counters:
            counter.start()
        with Client(*others, timeout=15) as node, node.lock("held", ttl=30, wait=5) as lock:
            until(lambda: all(counter.sure >= 3 for counter in counters), PATIENT_S, "all count")
            stage.cluster.kill(leader)
            before = [counter.sure for counter in counters]
            until(lambda: stage.leader(*stage.others(leader)) not in (None, leader), PATIENT_S, "another leader")
            until(lambda: all(c.sure > b + 3 for c, b in zip(counters, before, strict=True)), PATIENT_S, "they go on")
            assert not lock.lost.is_set()
            node.state.set("guarded", 1, token=lock.held)
            with pytest.raises(LockNotAcquired):
                node.locks.acquire("held")
        _end(counters)
        with Client(*others, timeout=15) as node:
            with pytest.raises(Refused):
                node.state.set("guarded", 2, token=lock.held)
            assert node.locks.acquire("held", ttl=5).token > lock.token
            _check(node, counters)


def _end(counters: list[Counter]) -> None:
    for counter in counters:
        counter.ending.set()
    for counter in counters:
        counter.join(PATIENT_S)
        assert not counter.is_alive()


def _check(node: Client, counters: list[Counter]) -> None:
    found: Any = node.state.get("counter")
    sure, unsure = sum(counter.sure for counter in counters), sum(counter.unsure for counter in counters)
    assert sure <= found.value <= sure + unsure, [counter.trouble for counter in counters]
    assert found.version == found.value, "each version is one count"
