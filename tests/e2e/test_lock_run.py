"""`lock run` when things go wrong: whatever is stopped or killed, the command is dead before the lock can be lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.mltbctl.fake_daemon import Refusal
from tests.mltbctl.fake_store import FakeStore
from tests.mltbctl.lock_run_kit import FAMILY, PYTHON, Held, gone, in_a_session, last_sign
from tests.mltbctl.terminal import DEADLINE_S
from tests.waiting import until

pytestmark = pytest.mark.e2e


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "family"


def unanswered(_: dict[str, Any]) -> dict[str, Any]:
    raise Refusal(code="no_quorum", message="the leader is gone")


def lease_end(store: FakeStore, name: str = "k") -> float:
    """When the daemon would give the lock to the next."""
    return store.lines[name][0].until


Break = Callable[[Held, list[int]], None]


def stop_mltbctl(held: Held, _: list[int]) -> None:
    os.kill(held.process.pid, signal.SIGSTOP)


def kill_mltbctl(held: Held, _: list[int]) -> None:
    held.process.kill()


def stop_the_watcher(_: Held, pids: list[int]) -> None:
    os.kill(pids[0], signal.SIGSTOP)


def kill_the_watcher(_: Held, pids: list[int]) -> None:
    os.kill(pids[0], signal.SIGKILL)


def stop_the_group(held: Held, _: list[int]) -> None:
    os.killpg(held.process.pid, signal.SIGSTOP)


def kill_the_group(held: Held, _: list[int]) -> None:
    """As `timeout -k` does, and a shell that is told to kill a job."""
    os.killpg(held.process.pid, signal.SIGKILL)


def stop_both(held: Held, pids: list[int]) -> None:
    stop_the_watcher(held, pids)
    stop_mltbctl(held, pids)


def stop_the_watcher_and_kill_mltbctl(held: Held, pids: list[int]) -> None:
    stop_the_watcher(held, pids)
    kill_mltbctl(held, pids)


def kill_mltbctl_and_stop_the_watcher(held: Held, pids: list[int]) -> None:
    kill_mltbctl(held, pids)
    held.process.wait()
    stop_the_watcher(held, pids)


def stop_mltbctl_and_kill_the_watcher(held: Held, pids: list[int]) -> None:
    stop_mltbctl(held, pids)
    kill_the_watcher(held, pids)


TWICE = (
    stop_the_group, kill_the_group, stop_both, stop_the_watcher_and_kill_mltbctl, kill_mltbctl_and_stop_the_watcher,
    stop_mltbctl_and_kill_the_watcher,
)  # fmt: skip
MEEK, STUBBORN = (), ("ignores SIGTERM",)


@pytest.mark.parametrize(
    ("fault", "manner"),
    [
        (stop_mltbctl, MEEK),
        (stop_mltbctl, STUBBORN),
        (stop_the_watcher, STUBBORN),
        (kill_mltbctl, STUBBORN),
        (kill_the_watcher, STUBBORN),
    ],
)
def test_the_command_is_dead_before_the_lock_is_lost(
    store: FakeStore, runtime: Path, mark: Path, fault: Break, manner: tuple[str, ...]
) -> None:
    ttl = 10.0  # with the whole reserve of a long lock: the machine may be busy
    with Held(runtime, "k", "--ttl", str(ttl), "--", PYTHON, "-c", FAMILY, str(mark), *manner) as held:
        pids = held.family(mark)
        # From now on nothing is extended, so that a stopped watcher matters too.
        store.daemons[0].answers["lock_extend"] = unanswered
        lost_at = lease_end(store)
        fault(held, pids)
        until(lambda: gone(pids[1:]), ttl + DEADLINE_S, "the command and its children are dead")
        assert last_sign(mark) < lost_at
        if fault is stop_mltbctl:
            os.kill(held.process.pid, signal.SIGCONT)
        outcome = held.end()
        if fault is not kill_mltbctl:
            assert outcome.code in (1, 5), outcome
            assert outcome.err.startswith("error: the "), outcome
        until(lambda: gone(pids), DEADLINE_S, "the watcher too")


def test_nor_do_two_faults_at_once_leave_it_alive(store: FakeStore, runtime: Path, mark: Path) -> None:
    """All of them beside each other, for each takes as long as the lock."""
    ttl = 10.0
    with ExitStack() as stack:
        struck: list[tuple[str, Held, list[int], float]] = []
        for fault in TWICE:
            name = fault.__name__
            family = mark.with_name(name)
            arguments = (name, "--ttl", str(ttl), "--", PYTHON, "-c", FAMILY, str(family), *STUBBORN)
            held = stack.enter_context(Held(runtime, *arguments))
            pids = held.family(family)
            store.daemons[0].answers["lock_extend"] = unanswered
            struck.append((name, held, pids, lease_end(store, name)))
            fault(held, pids)
        for name, held, pids, lost_at in struck:
            until(partial(gone, pids), ttl + DEADLINE_S, f"all are dead, the watcher too: {name}")
            assert last_sign(mark.with_name(name)) < lost_at, name
            assert held.process.wait(DEADLINE_S) in (5, 1, -signal.SIGKILL), "it is not stopped either"


@pytest.mark.usefixtures("store")
def test_a_stopped_mltbctl_costs_its_process_group_nothing(runtime: Path, mark: Path) -> None:
    """A script that runs it, and all beside it in one group, must not be hung up when the command ends."""
    script = (
        "import os, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGHUP, lambda *_: os._exit(7))\n"
        "run = subprocess.Popen(sys.argv[2:])\n"
        "while not os.path.exists(sys.argv[1]): time.sleep(0.01)\n"
        "command = int(open(sys.argv[1]).read())\n"
        "os.kill(run.pid, signal.SIGSTOP)\n"
        "os.waitpid(run.pid, os.WUNTRACED)\n"
        "os.kill(command, signal.SIGKILL)\n"
        "while os.path.exists(f'/proc/{command}'): time.sleep(0.01)\n"
        "run.kill()\n"
        "run.wait()\n"
    )
    told = mark.with_name("pid")
    command = f"import os, time; open({str(told) + '.new'!r}, 'w').write(str(os.getpid()))\n"
    command += f"os.rename({str(told) + '.new'!r}, {str(told)!r}); time.sleep(60)"
    lock_run = [PYTHON, "-m", "mltbctl", "lock", "run", "k", "--ttl", "10", "--", PYTHON, "-c", command]
    done = in_a_session(runtime, script, str(told), *lock_run)
    assert done.returncode == 0, done


def test_a_released_lock_ends_the_command_at_once(store: FakeStore, runtime: Path, mark: Path) -> None:
    with Held(runtime, "k", "--ttl", "3", "--", PYTHON, "-c", FAMILY, str(mark), "ignores SIGTERM") as held:
        pids = held.family(mark)
        store.release({"name": "k", "lock_id": store.lines["k"][0].lock_id})
        outcome = held.end()
    assert outcome.code == 5
    assert "error: the lock `k` was lost" in outcome.err
    assert gone(pids[1:])
