"""`lock run` as a process: output, signals, exit codes. Its end in time is in tests/e2e/test_lock_run.py."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mltbctl.clock import boottime
from mltbctl.lock_run import grace_s
from tests.daemon import trees
from tests.daemon.guarded import state
from tests.mltbctl.fake_store import FakeStore
from tests.mltbctl.lock_run_kit import FAMILY, PYTHON, Held, gone, in_a_session, run
from tests.mltbctl.terminal import DEADLINE_S, Outcome, Terminal, environment
from tests.waiting import until


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "family"


def test_output_and_exit_code_are_the_commands(store: FakeStore, runtime: Path) -> None:
    script = "import os; print(os.environ['MLTB_LOCK_TOKEN'], os.environ['MLTB_LOCK_NAME']); raise SystemExit(7)"
    assert run(runtime, "deploy", "--", PYTHON, "-c", script) == Outcome(7, "1 deploy\n", "")
    assert store.lines["deploy"] == [], "released"
    assert run(runtime, "deploy", "--", PYTHON, "-c", script).out.startswith("2 "), "the token grows"


@pytest.mark.usefixtures("store")
def test_a_signal_is_128_and_its_number(runtime: Path) -> None:
    outcome = run(runtime, "k", "--", PYTHON, "-c", "import os; os.kill(os.getpid(), 9)")
    assert (outcome.code, outcome.out) == (137, "")


@pytest.mark.parametrize(("command", "code"), [("/no/such/program", 127), ("/", 126)])
def test_what_cannot_be_run(store: FakeStore, runtime: Path, command: str, code: int) -> None:
    outcome = run(runtime, "k", "--", command)
    assert outcome.code == code
    assert outcome.err.startswith(f"error: cannot run `{command}`: ")
    assert store.lines["k"] == []


def test_an_empty_word_is_no_command(store: FakeStore, runtime: Path) -> None:
    outcome = run(runtime, "k", "--", "")
    assert outcome.code == 2
    assert outcome.err.startswith("error: the command to run is an empty word\n")
    assert store.lines == {}


def test_somebody_else_holds_it(store: FakeStore, runtime: Path, mark: Path) -> None:
    store.acquire({"client": "c", "seq": 1, "name": "k", "ttl": 100, "wait": 0, "holder": "another"})
    outcome = run(runtime, "k", "--", PYTHON, "-c", FAMILY, str(mark))
    assert outcome.code == 1
    assert outcome.err.startswith("error: `k` is held by `another`\n")
    assert not Path(f"{mark}.root").exists()


def test_without_a_daemon(runtime: Path) -> None:
    assert run(runtime, "k", "--", "true").code == 7
    assert run(runtime, "k", "--ttl", "0.5", "--", "true").code == 2


@pytest.mark.usefixtures("store")
def test_it_works_as_cron_starts_it(runtime: Path) -> None:
    environ = {key: environment()[key] for key in ("PYTHONPATH",)} | {
        "MLTB_RUNTIME_DIR": str(runtime), "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh",
    }  # fmt: skip
    with Held(runtime, "k", "--", "sh", "-c", "echo $MLTB_LOCK_TOKEN", environ=environ) as held:
        assert held.end() == Outcome(0, "1\n", "")


def test_a_parent_that_ignores_sigchld_changes_nothing(store: FakeStore, runtime: Path) -> None:
    command = "raise SystemExit(7 if signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL else 8)"
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        held = Held(runtime, "k", "--", PYTHON, "-c", f"import signal; {command}")
    finally:
        signal.signal(signal.SIGCHLD, before)
    with held:
        assert held.end() == Outcome(7, "", "")
    assert store.lines["k"] == []


def test_what_the_command_leaves_behind_is_ended_before_the_release(
    store: FakeStore, runtime: Path, mark: Path
) -> None:
    script = f"import os, sys, time\nif os.fork():\n  while not os.path.exists({str(mark)!r}): time.sleep(0.01)\n" + (
        f"else:\n  os.setsid(); open({str(mark)!r}, 'w').write(str(os.getpid())); time.sleep(1000)"
    )
    assert run(runtime, "k", "--", PYTHON, "-c", script).code == 0
    assert gone([int(mark.read_text())])
    assert store.lines["k"] == []


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize("where", ["root", "child"])
def test_a_process_whose_first_thread_has_ended_is_ended_like_any_other(
    store: FakeStore, runtime: Path, tmp_path: Path, where: str
) -> None:
    ready = tmp_path / "ready"
    argv = trees.headless(tmp_path) if where == "root" else trees.headless_child(tmp_path)
    with Held(runtime, "k", "--ttl", "60", "--", *argv) as held:
        until(lambda: ready.exists() and state(int(ready.read_text())) == "Z", DEADLINE_S)
        held.pids = [int(ready.read_text())]
        held.process.send_signal(signal.SIGTERM if where == "child" else signal.SIGKILL)
        until(lambda: held.process.poll() is not None and state(held.pids[0]) == "-", DEADLINE_S)
    assert where == "root" or store.lines["k"] == []


def test_a_daemonised_grandchild_counts_as_the_command(store: FakeStore, runtime: Path, mark: Path) -> None:
    with Held(runtime, "k", "--ttl", "60", "--", PYTHON, "-c", FAMILY, str(mark)) as held:
        pids = held.family(mark)
        held.process.send_signal(signal.SIGTERM)
        assert held.end().code == 143
        assert gone(pids[1:])
        assert store.lines["k"] == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.usefixtures("store")
def test_signals_are_passed_on(runtime: Path, mark: Path, number: signal.Signals) -> None:
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


@pytest.mark.usefixtures("store")
def test_ctrl_c_reaches_the_command_once(runtime: Path) -> None:
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


@pytest.mark.usefixtures("store")
def test_ctrl_c_reaches_a_command_that_left_the_group(runtime: Path) -> None:
    script = "import os, signal; os.setpgid(0, 0); print('ready', flush=True); signal.pause()"
    environ = environment(MLTB_RUNTIME_DIR=str(runtime))
    with Terminal("lock", "run", "k", "--ttl", "60", "--", PYTHON, "-c", script, environ=environ) as terminal:
        terminal.wait_for("ready")
        terminal.type("\x03")
        assert terminal.end() == 130


def test_a_terminal_that_hangs_up_ends_the_command(store: FakeStore, runtime: Path) -> None:
    """As `ssh -t host mltbctl lock run ...`: mltbctl is the first process of the session, and the only one told."""
    script = "import signal; print('ready', flush=True); signal.pause()"
    environ = environment(MLTB_RUNTIME_DIR=str(runtime))
    with Terminal("lock", "run", "k", "--ttl", "60", "--", PYTHON, "-c", script, environ=environ) as terminal:
        terminal.wait_for("ready")
        terminal.hang_up()
        until(lambda: not store.lines["k"], DEADLINE_S, "the lock is given back")


@pytest.mark.usefixtures("store")
def test_a_job_is_stopped_and_continued_with_its_command(mark: Path, runtime: Path) -> None:
    """As a shell does at Ctrl-Z and `fg`, in whose session the job is a process group."""
    shell = """
import os, signal, subprocess, sys, time
job = subprocess.Popen(sys.argv[2:], process_group=0)
while not os.path.exists(sys.argv[1]): time.sleep(0.01)
command = int(open(sys.argv[1]).read())
os.killpg(job.pid, signal.SIGTSTP)
assert os.WIFSTOPPED(os.waitpid(job.pid, os.WUNTRACED)[1])
while "T (stopped)" not in open(f"/proc/{command}/status").read(): time.sleep(0.01)
os.killpg(job.pid, signal.SIGCONT)
os.remove(sys.argv[1])
raise SystemExit(job.wait())
"""
    command = f"import os, time; open({str(mark) + '.new'!r}, 'w').write(str(os.getpid()))\n"
    command += f"os.rename({str(mark) + '.new'!r}, {str(mark)!r})\n"
    command += f"while os.path.exists({str(mark)!r}): time.sleep(0.01)\nraise SystemExit(7)"
    lock_run = [PYTHON, "-m", "mltbctl", "lock", "run", "k", "--ttl", "60", "--", PYTHON, "-c", command]
    done = in_a_session(runtime, shell, str(mark), *lock_run)
    assert (done.returncode, done.stderr) == (7, "")


def test_it_is_extended_while_the_command_runs(store: FakeStore, runtime: Path) -> None:
    script = "import time; time.sleep(3.5)"
    assert run(runtime, "k", "--ttl", "3", "--", PYTHON, "-c", script) == Outcome(0, "", "")
    assert sum(method == "lock_extend" for method, _ in store.daemons[0].calls) >= 2


def test_without_a_time_it_is_that_of_the_node(store: FakeStore, runtime: Path) -> None:
    store.ttl, store.extend = 3.0, 0.5
    script = "import time; time.sleep(2)"
    assert run(runtime, "k", "--", PYTHON, "-c", script) == Outcome(0, "", "")
    assert sum(method == "lock_extend" for method, _ in store.daemons[0].calls) >= 2


def test_where_the_node_wants_no_extensions_the_command_is_ended_in_time(store: FakeStore, runtime: Path) -> None:
    store.ttl, store.extend = 2.0, 0.0
    done = run(runtime, "k", "--", "/bin/sleep", "60")
    assert done.code == 5
    assert "ended: its time was over, and its node has DISTRIBUTED_LOCK_AUTO_EXTEND off; the command" in done.err


def test_a_time_of_the_node_that_is_too_short_to_end_a_command_in_is_refused(store: FakeStore, runtime: Path) -> None:
    store.ttl = 0.5
    done = run(runtime, "k", "--", "/bin/echo", "ran")
    assert (done.code, done.out) == (2, "")
    assert "a lock of 0.5 s, as this node gives, leaves no time" in done.err
    assert store.lines["k"] == []


NO_KEEPER = """
import contextlib, os, sys, threading
from mltbctl.cli import app
from tests.waiting import until
start = threading.Thread.start
def refused(self):
    if self.name != "mltb-lock":
        return start(self)
    with contextlib.suppress(AssertionError):
        until(lambda: os.path.exists(sys.argv[-1]), 0.5)
    raise RuntimeError("can't start new thread")
threading.Thread.start = refused
app(sys.argv[1:])
"""


@pytest.mark.usefixtures("store")
def test_where_nobody_can_extend_the_lock_the_command_does_not_begin(runtime: Path, mark: Path) -> None:
    done = in_a_session(runtime, NO_KEEPER, "lock", "run", "k", "--ttl", "60", "--", "touch", str(mark))
    assert (done.returncode, "no thread to extend the lock" in done.stderr) == (7, True), done.stderr
    assert not mark.exists()


def test_who_stands_still_after_the_grant_does_not_begin_the_command(store: FakeStore, runtime: Path) -> None:
    """Here before a stderr that nobody reads, on which it says which node it asked."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.write(writer, b"x" * 4096)
    with subprocess.Popen(
        [PYTHON, "-m", "mltbctl", "-v", "lock", "run", "k", "--ttl", "1", "--", "echo", "ran"],
        env=environment(MLTB_RUNTIME_DIR=str(runtime)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=writer,
    ) as stalled:  # fmt: skip
        os.close(writer)
        until(lambda: store.lines.get("k"), DEADLINE_S, "it holds the lock")
        granted = store.lines["k"][0].until
        until(lambda: boottime() > granted)
        with open(reader, "rb") as err:
            said = err.read().decode()
        assert (stalled.communicate()[0], stalled.returncode) == (b"", 5)
    assert "the time of the lock `k` was over before the command could begin; it was not begun" in said


@pytest.mark.parametrize("ttl", [1.0, 5.0, 30.0, 600.0])
def test_the_first_missed_extension_does_not_end_it(ttl: float) -> None:
    """After a missed extension there is time for another before SIGTERM."""
    assert ttl - min(1.0, ttl / 10) - grace_s(ttl) > 0.55 * ttl


@pytest.mark.parametrize("command", ["run", "acquire"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_who_is_stopped_while_waiting_leaves_the_line(
    store: FakeStore, runtime: Path, number: signal.Signals, command: str
) -> None:
    store.acquire({"client": "c", "seq": 1, "name": "k", "ttl": 100, "wait": 0, "holder": "another"})
    what = ("--", "true") if command == "run" else ()
    with Held(runtime, "k", "--wait", "60", *what, command=command) as held:
        until(lambda: len(store.lines["k"]) == 2, DEADLINE_S, "it waits")
        held.process.send_signal(number)
        assert held.end().code == 128 + number
    assert [grant.holder for grant in store.lines["k"]] == ["another"]
