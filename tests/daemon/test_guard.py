"""What the guard lets a daemon do, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mltbd.guard import PKILL_WORDS, WORKLOADS_MAX
from mltbd.orders import DATAGRAM_BYTES_MAX
from mltbd.processes import boottime_s, process
from tests.daemon import trees
from tests.daemon.guarded import ROOT, Guarded, alive
from tests.waiting import until


def refusal(guarded: Guarded) -> str:
    return str(guarded.news("failed")["error"])


# -- tokens and deadlines


def test_nothing_starts_that_is_not_armed(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        guarded.start(["true"], token=4)
        assert refusal(guarded) == "token 4 is not armed"
        guarded.arm(9.0, token=3)
        guarded.start(["true"], token=4)
        assert refusal(guarded) == "token 4 is not armed"


def test_a_token_below_the_highest_seen_is_sealed(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        guarded.arm(9.0, token=3)
        guarded.arm(9.0, token=4)
        guarded.arm(9.5, token=3)
        guarded.start(["true"], token=3)
        assert refusal(guarded) == "token 3 is sealed: 4 was seen"
        guarded.run(trees.plain(tmp_path), token=4)


def test_a_sealed_token_stays_sealed_for_the_next_daemon(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        guarded.arm(9.0, token=4)
        guarded.send(b"exit 1")
        guarded.meet().arm(9.0, token=3)
        guarded.start(["true"], token=3)
        assert refusal(guarded) == "token 3 is sealed: 4 was seen"


def test_a_deadline_beyond_the_horizon_buys_nothing(tmp_path: Path) -> None:
    with Guarded(tmp_path, horizon_s=2.0).meet() as guarded:
        guarded.arm(3.0)
        guarded.start(["true"])
        assert refusal(guarded) == "token 1 is not armed"
        guarded.arm(1.9)
        guarded.arm(1e9)
        guarded.start(trees.plain(tmp_path))
        assert guarded.news("running")["deadline"] < boottime_s() + 2.0


def test_a_daemon_that_has_not_said_how_long_a_lease_is_buys_nothing(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet(greets=False) as guarded:
        guarded.arm(0.5)
        guarded.start(["true"])
        assert refusal(guarded) == "token 1 is not armed"


def test_an_earlier_deadline_takes_nothing_back(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        deadline = guarded.arm(30.0)
        guarded.arm(-0.1)
        guarded.start(trees.plain(tmp_path))
        assert guarded.news("running")["deadline"] == deadline


def test_a_passed_deadline_starts_nothing(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        guarded.arm(-0.1)
        guarded.start(["true"])
        assert refusal(guarded) == "the deadline of token 1 has passed"


def test_one_workload_runs_once(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        first = guarded.run(trees.plain(tmp_path), token=1)
        guarded.start(["true"], token=1)
        assert refusal(guarded) == "token 1 still runs"
        guarded.arm(9.0, token=2)
        guarded.start(["true"], token=2)
        assert refusal(guarded) == "token 1 still runs"
        assert alive(first)
        guarded.order(do="stop", workload="main", token=1)
        guarded.news("gone")
        guarded.run(trees.plain(tmp_path), token=2)


def test_there_is_a_limit_to_workloads(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        for number in range(WORKLOADS_MAX + 1):
            guarded.arm(30.0, workload=f"w{number}")
        guarded.start(["true"], workload=f"w{WORKLOADS_MAX}")
        assert refusal(guarded) == "token 1 is not armed"
        guarded.start(["true"], workload=f"w{WORKLOADS_MAX - 1}")
        assert guarded.news("gone")["status"] == 0


def test_garbage_is_counted_and_ignored(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        first = guarded.run(trees.plain(tmp_path))
        for datagram in (b"\x00\xff", b"{}", b"[" * 5000, b"x" * (DATAGRAM_BYTES_MAX + 100)):
            guarded.send(datagram)
        guarded.order(do="stop", workload="other", token=1)
        guarded.order(do="stop", workload="main", token=2)
        guarded.start(["true"], token=9)
        assert refusal(guarded) == "token 9 is not armed"
        assert alive(first)
        assert "order 4 ignored: more than 65536 bytes" in guarded.errors.read_text()


# -- its end


AT_ONCE = """
import os, signal, sys
from mltbd import guard
real = signal.signal
def install(number, handler):
    real(number, handler)
    if number == signal.SIGTERM:
        signal.signal = real
        os.kill(os.getpid(), number)
signal.signal = install
sys.exit(guard.run(["true"], sys.argv[1]))
"""


def test_a_signal_is_heard_from_the_moment_it_does_not_kill(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", AT_ONCE, str(tmp_path / "state")]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "daemon")}
    assert subprocess.run(argv, env=env, timeout=10.0, check=False).returncode == 0


def test_a_graceful_stop_waits_for_the_daemon(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        guarded.run(trees.plain(tmp_path))
        guarded.guard.send_signal(signal.SIGTERM)
        guarded.news("stop")
        guarded.order(do="stop", workload="main", token=1)
        assert guarded.news("gone")["cause"] == "stopped"
        guarded.send(b"exit 0")
        assert guarded.guard.wait() == 0


def test_a_guard_that_can_open_no_file_ends_as_gracefully(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded, guarded.without_files():
        guarded.guard.send_signal(signal.SIGTERM)
        guarded.news("stop")
        guarded.send(b"exit 0")
        assert guarded.guard.wait() == 0


@pytest.mark.parametrize("code", [b"exit 0", b"exit 1"])
def test_a_daemon_that_ends_without_stopping_its_workload_is_cleaned_up_after(code: bytes, tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        first = guarded.run(trees.daemonised(tmp_path))
        helper = guarded.written("ready")
        guarded.guard.send_signal(signal.SIGTERM)
        guarded.news("stop")
        guarded.send(code)
        assert guarded.guard.wait() == 0
        assert not first.lives()
        assert not helper.lives()


def test_patience_with_a_daemon_that_does_not_stop_has_an_end(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        guarded.order(do="hello", horizon=60, patience=0.3)
        first = guarded.run(trees.deaf(tmp_path), stop_timeout=0.2)
        os.kill(guarded.relay_pid, signal.SIGSTOP)
        begin = boottime_s()
        guarded.guard.send_signal(signal.SIGTERM)
        assert guarded.guard.wait() == 0
        assert boottime_s() - begin >= 0.5
        assert not first.lives()


def test_while_it_waits_the_lease_still_holds(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        deadline = guarded.arm(1.0)
        guarded.start(trees.beating(tmp_path))
        guarded.written("ready")
        guarded.guard.send_signal(signal.SIGTERM)
        assert guarded.news("gone")["cause"] == "deadline"
        assert trees.last_beat(tmp_path) < deadline + 0.2


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_second_signal_is_urgent(number: int, code: int, tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        first = guarded.run(trees.deaf(tmp_path), stop_timeout=60.0)
        guarded.written("ready")
        guarded.guard.send_signal(number)
        guarded.news("stop")
        begin = boottime_s()
        guarded.guard.send_signal(number)
        assert guarded.guard.wait() == code
        assert boottime_s() - begin < 2.0
        assert not first.lives()


@pytest.mark.parametrize(("said", "code"), [(b"exit 2", 2), (b"exit 3", 1)])
def test_a_daemon_that_cannot_go_on_ends_the_guard(said: bytes, code: int, tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        first = guarded.run(trees.plain(tmp_path))
        guarded.send(said)
        assert guarded.guard.wait() == code
        assert not first.lives()


def test_no_guard_or_daemon_is_hit_by_the_pkill_of_a_bot(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        row = process(guarded.guard.pid)
        assert row
        command = Path(f"/proc/{row.pid}/cmdline").read_text().replace(str(tmp_path), "")
        assert not [word for word in PKILL_WORDS if word in command]
        assert "warning" not in until(guarded.errors.read_text)


def test_the_guard_is_made_of_the_standard_library_alone() -> None:
    """And of one module that the command line has a use for too, which is made of that alone as well."""
    code = "import sys, mltbd.guard; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT / "daemon")}, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    known = sys.stdlib_module_names | {"mltbd"}
    others = {name for name in loaded if name.partition(".")[0] not in known}
    assert {name for name in others if not name.startswith(("_", "sitecustomize"))} == {
        "mltb_transport", "mltb_transport.continuer",
    }  # fmt: skip
    assert not {"asyncio", "threading", "multiprocessing", "concurrent", "logging"} & set(loaded)


@pytest.mark.parametrize("kill_path", [None, "walk"])
def test_a_guard_that_can_open_no_file_lives_on_and_calls_nobody_dead(kill_path: str | None, tmp_path: Path) -> None:
    with Guarded(tmp_path, kill_path).meet() as guarded:
        healthy = guarded.run(trees.plain(tmp_path), workload="healthy")
        ends = guarded.run(["sleep", "600"], workload="ends")
        with guarded.without_files():
            os.kill(ends.pid, signal.SIGKILL)
            until(lambda: not ends.lives())
            with pytest.raises(TimeoutError):
                guarded.news("gone", 0.5)
            assert guarded.guard.poll() is None
            assert alive(healthy)
        assert guarded.news("gone")["workload"] == "ends"
        assert alive(healthy)
