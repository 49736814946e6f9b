"""`lock run` as a process: the command, its end in time whatever is stopped or killed, signals and exit codes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from mltbctl.lock_run import grace_s
from mltbctl.process_table import below, process
from tests.mltbctl.fake_daemon import Refusal
from tests.mltbctl.fake_store import FakeStore
from tests.mltbctl.terminal import DEADLINE_S, Outcome, Terminal, environment
from tests.waiting import until

PYTHON = sys.executable
# A command and a child that left its session and ignores SIGTERM; both write pid and time again and again.
FAMILY = """
import os, signal, sys, time
name = "root"
if os.fork() == 0:
    os.setsid()
    name = "child"
if name == "child" or len(sys.argv) > 2:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
file = os.open(sys.argv[1] + "." + name, os.O_CREAT | os.O_WRONLY)
while True:
    os.pwrite(file, f"{os.getpid():9d} {time.clock_gettime(time.CLOCK_BOOTTIME):20.6f}".encode(), 0)
    time.sleep(0.005)
"""


class Held:
    """One `lock run` under test; what is left of it is killed at the end."""

    def __init__(self, runtime: Path, *arguments: str, environ: Mapping[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [PYTHON, "-m", "mltbctl", "lock", "run", *arguments],
            env=environment(MLTB_RUNTIME_DIR=str(runtime)) if environ is None else dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.pids: list[int] = []

    def family(self, mark: Path) -> list[int]:
        """The pids that FAMILY wrote, once it runs; with the watcher first."""
        until(lambda: all(file.exists() and file.read_text() for file in files(mark)), DEADLINE_S, "the command runs")
        pids = [int(file.read_text().split()[0]) for file in files(mark)]
        root = process(pids[0])
        assert root is not None
        self.pids = [root.parent, *pids]
        return self.pids

    def end(self) -> Outcome:
        out, err = self.process.communicate(timeout=60)
        return Outcome(self.process.returncode, out, err)

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *_: object) -> None:
        left = [row.pid for row in below(self.process.pid)]
        for pid in [self.process.pid, *left, *self.pids]:
            if lives(pid):
                os.kill(pid, signal.SIGKILL)
        self.process.communicate()


def files(mark: Path) -> list[Path]:
    return [Path(f"{mark}.{name}") for name in ("root", "child")]


def last_sign(mark: Path) -> float:
    """When one of FAMILY was last seen alive, by its own clock."""
    return max(float(file.read_text().split()[1]) for file in files(mark))


def lives(pid: int) -> bool:
    row = process(pid)
    return row is not None and not row.is_zombie


def gone(pids: list[int]) -> bool:
    return not any(lives(pid) for pid in pids)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "family"


def run(runtime: Path, *arguments: str) -> Outcome:
    with Held(runtime, *arguments) as held:
        return held.end()


def unanswered(_: dict[str, Any]) -> dict[str, Any]:
    raise Refusal(code="no_quorum", message="the leader is gone")


def test_output_and_exit_code_are_the_commands(store: FakeStore, runtime: Path) -> None:
    script = "import os; print(os.environ['MLTB_LOCK_TOKEN'], os.environ['MLTB_LOCK_NAME']); raise SystemExit(7)"
    assert run(runtime, "deploy", "--", PYTHON, "-c", script) == Outcome(7, "1 deploy\n", "")
    assert store.lines["deploy"] == [], "released"
    assert run(runtime, "deploy", "--", PYTHON, "-c", script).out.startswith("2 "), "the token grows"


def test_a_signal_is_128_and_its_number(store: FakeStore, runtime: Path) -> None:  # noqa: ARG001
    outcome = run(runtime, "k", "--", PYTHON, "-c", "import os; os.kill(os.getpid(), 9)")
    assert (outcome.code, outcome.out) == (137, "")


@pytest.mark.parametrize(("command", "code"), [("/no/such/program", 127), ("/", 126)])
def test_what_cannot_be_run(store: FakeStore, runtime: Path, command: str, code: int) -> None:
    outcome = run(runtime, "k", "--", command)
    assert outcome.code == code
    assert outcome.err.startswith(f"error: cannot run `{command}`: ")
    assert store.lines["k"] == []


def test_somebody_else_holds_it(store: FakeStore, runtime: Path, mark: Path) -> None:
    store.acquire({"client": "c", "seq": 1, "name": "k", "ttl": 100, "wait": 0, "holder": "another"})
    outcome = run(runtime, "k", "--", PYTHON, "-c", FAMILY, str(mark))
    assert outcome.code == 1
    assert outcome.err.startswith("error: `k` is held by `another`\n")
    assert not Path(f"{mark}.root").exists()


def test_without_a_daemon(runtime: Path) -> None:
    assert run(runtime, "k", "--", "true").code == 7
    assert run(runtime, "k", "--ttl", "0.5", "--", "true").code == 2


def test_it_works_as_cron_starts_it(store: FakeStore, runtime: Path) -> None:  # noqa: ARG001
    environ = {key: environment()[key] for key in ("PYTHONPATH",)} | {
        "MLTB_RUNTIME_DIR": str(runtime), "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh",
    }  # fmt: skip
    with Held(runtime, "k", "--", "sh", "-c", "echo $MLTB_LOCK_TOKEN", environ=environ) as held:
        assert held.end() == Outcome(0, "1\n", "")


def test_what_the_command_leaves_behind_is_ended_before_the_release(
    store: FakeStore, runtime: Path, mark: Path
) -> None:
    script = f"import os, sys, time\nif os.fork():\n  while not os.path.exists({str(mark)!r}): time.sleep(0.01)\n" + (
        f"else:\n  os.setsid(); open({str(mark)!r}, 'w').write(str(os.getpid())); time.sleep(1000)"
    )
    assert run(runtime, "k", "--", PYTHON, "-c", script).code == 0
    assert gone([int(mark.read_text())])
    assert store.lines["k"] == []


def test_a_daemonised_grandchild_counts_as_the_command(store: FakeStore, runtime: Path, mark: Path) -> None:
    with Held(runtime, "k", "--ttl", "60", "--", PYTHON, "-c", FAMILY, str(mark)) as held:
        pids = held.family(mark)
        held.process.send_signal(signal.SIGTERM)
        assert held.end().code == 143
        assert gone(pids[1:])
        assert store.lines["k"] == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_are_passed_on(store: FakeStore, runtime: Path, mark: Path, number: signal.Signals) -> None:  # noqa: ARG001
    script = f"""
import signal, sys
signal.signal({int(number)}, lambda *_: sys.exit(40 + {int(number)}))
open({str(mark)!r}, "w").close()
signal.pause()
"""
    with Held(runtime, "k", "--ttl", "60", "--", PYTHON, "-c", script) as held:
        until(mark.exists, DEADLINE_S)
        held.process.send_signal(number)
        assert held.end().code == 40 + number


def test_ctrl_c_reaches_the_command_once(store: FakeStore, runtime: Path) -> None:  # noqa: ARG001
    script = """
import signal, sys, time
seen = []
signal.signal(signal.SIGINT, lambda *_: seen.append(1))
print("ready", sys.stdin.isatty(), flush=True)
while not seen: time.sleep(0.01)
time.sleep(0.3)
print("seen", len(seen), flush=True)
"""
    environ = environment(MLTB_RUNTIME_DIR=str(runtime))
    with Terminal("lock", "run", "k", "--ttl", "60", "--", PYTHON, "-c", script, environ=environ) as terminal:
        terminal.wait_for("ready True")
        terminal.type("\x03")
        terminal.wait_for("seen 1")
        assert terminal.end() == 0


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


def test_a_released_lock_ends_the_command_at_once(store: FakeStore, runtime: Path, mark: Path) -> None:
    with Held(runtime, "k", "--ttl", "3", "--", PYTHON, "-c", FAMILY, str(mark), "ignores SIGTERM") as held:
        pids = held.family(mark)
        store.release({"name": "k", "lock_id": store.lines["k"][0].lock_id})
        outcome = held.end()
    assert outcome.code == 5
    assert "error: the lock `k` was lost" in outcome.err
    assert gone(pids[1:])


def test_it_is_extended_while_the_command_runs(store: FakeStore, runtime: Path) -> None:
    script = "import time; time.sleep(3.5)"
    assert run(runtime, "k", "--ttl", "3", "--", PYTHON, "-c", script) == Outcome(0, "", "")
    assert sum(method == "lock_extend" for method, _ in store.daemons[0].calls) >= 2


@pytest.mark.parametrize("ttl", [1.0, 5.0, 30.0, 600.0])
def test_the_first_missed_extension_does_not_end_it(ttl: float) -> None:
    """After a missed extension there is time for another before SIGTERM."""
    assert ttl - min(1.0, ttl / 10) - grace_s(ttl) > 0.55 * ttl
