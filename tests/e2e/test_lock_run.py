"""`lock run` when things go wrong: whatever is stopped or killed, the command is dead before the lock can be lost."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.mltbctl.fake_daemon import Refusal
from tests.mltbctl.fake_store import FakeStore
from tests.mltbctl.lock_run_kit import FAMILY, PYTHON, Held, gone, last_sign
from tests.mltbctl.terminal import DEADLINE_S, environment
from tests.waiting import until

pytestmark = pytest.mark.e2e


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "family"


def unanswered(_: dict[str, Any]) -> dict[str, Any]:
    raise Refusal(code="no_quorum", message="the leader is gone")


def lease_end(store: FakeStore) -> float:
    """When the daemon would give the lock to the next."""
    return store.lines["k"][0].until


Break = Callable[[Held, list[int]], None]


def stop_mltbctl(held: Held, _: list[int]) -> None:
    os.kill(held.process.pid, signal.SIGSTOP)


def kill_mltbctl(held: Held, _: list[int]) -> None:
    held.process.kill()


def stop_the_watcher(_: Held, pids: list[int]) -> None:
    os.kill(pids[0], signal.SIGSTOP)


def kill_the_watcher(_: Held, pids: list[int]) -> None:
    os.kill(pids[0], signal.SIGKILL)


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
    done = subprocess.run(
        [PYTHON, "-c", script, str(told), *lock_run],
        env=environment(MLTB_RUNTIME_DIR=str(runtime)), capture_output=True, text=True, timeout=60, check=False,
        start_new_session=True,
    )  # fmt: skip
    assert done.returncode == 0, done


def test_a_released_lock_ends_the_command_at_once(store: FakeStore, runtime: Path, mark: Path) -> None:
    with Held(runtime, "k", "--ttl", "3", "--", PYTHON, "-c", FAMILY, str(mark), "ignores SIGTERM") as held:
        pids = held.family(mark)
        store.release({"name": "k", "lock_id": store.lines["k"][0].lock_id})
        outcome = held.end()
    assert outcome.code == 5
    assert "error: the lock `k` was lost" in outcome.err
    assert gone(pids[1:])
