"""What a workload inherits, and what it must not."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.daemon.guarded import Guarded
from tests.waiting import until

REPORT = """
import json, os, signal, sys
blocked = [int(n) for n in signal.pthread_sigmask(signal.SIG_BLOCK, ())]
ignored = [int(n) for n in signal.valid_signals() if signal.getsignal(n) is signal.SIG_IGN]
for line in open('/proc/self/status'):
    if line.startswith('SigIgn'):
        at_exec = int(line.split()[1], 16)
report = dict(env=dict(os.environ), cwd=os.getcwd(), blocked=blocked, at_exec=at_exec, nice=os.nice(0),
    session=os.getsid(0) == os.getpid(), stdin=os.readlink('/proc/self/fd/0'), argv=sys.argv[1:],
    fds=sorted(int(n) for n in os.listdir('/proc/self/fd') if os.path.exists('/proc/self/fd/' + n)),
    oom=open('/proc/self/oom_score_adj').read().strip())
open('report.new', 'w').write(json.dumps(report))
os.rename('report.new', 'report')
"""


@contextlib.contextmanager
def odd_parent() -> Iterator[None]:
    """What is started in here has SIGCHLD and SIGHUP ignored, and signals blocked."""
    numbers = (signal.SIGCHLD, signal.SIGHUP)
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGCHLD, signal.SIGUSR1})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def test_an_odd_parent_changes_neither_the_guard_nor_what_a_workload_gets(tmp_path: Path) -> None:
    report = tmp_path / "report"
    with odd_parent():
        started = Guarded(tmp_path)
    with started.meet() as guarded:
        guarded.arm(30.0)
        guarded.start([sys.executable, "-S", "-c", REPORT], env={}, cwd=str(tmp_path))
        said = json.loads(until(lambda: report.read_text() if report.exists() else None))
        guarded.news("gone")
        os.kill(guarded.relay_pid, signal.SIGKILL)
        guarded.meet()
        guarded.guard.send_signal(signal.SIGTERM)
        guarded.news("stop")
        guarded.send(b"exit 0")
        assert guarded.guard.wait(15.0) == 0
    assert said["blocked"] == []
    ours = signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}
    assert [number for number in ours if said["at_exec"] >> (number - 1) & 1] == []


def test_a_workload_gets_what_it_was_given_and_nothing_more(tmp_path: Path) -> None:
    report = tmp_path / "report"
    before = os.nice(0), Path("/proc/self/oom_score_adj").read_text().strip()
    env = {"A": "1", "NOTIFY_SOCKET": "/x", "MLTB_GUARD_FD": "3", "CLUSTER_SECRET": "hush", "MLTB_RUN_ID": "forged"}
    with Guarded(tmp_path).meet() as guarded:
        guarded.arm(30.0)
        guarded.start([sys.executable, "-S", "-c", REPORT, "x y", "$HOME"], env=env, cwd=str(tmp_path))
        said = json.loads(until(lambda: report.read_text() if report.exists() else None))
        guarded.news("gone")
    run_id = said["env"].pop("MLTB_RUN_ID")
    assert run_id != "forged"
    said["env"].pop("LC_CTYPE", None)  # The interpreter's own doing.
    assert said["env"] == {"A": "1"}
    assert said["cwd"] == str(tmp_path)
    assert said["argv"] == ["x y", "$HOME"]
    assert said["fds"] == [0, 1, 2]
    assert said["stdin"] == "/dev/null"
    assert said["session"]
    assert said["blocked"] == []
    # The interpreter itself ignores these two, and nobody can touch the C library's own (32 and 33).
    ours = signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}
    assert [number for number in ours if said["at_exec"] >> (number - 1) & 1] == []
    assert (said["nice"], said["oom"]) == before


def test_sigpipe_ends_a_workload_as_it_would_in_a_shell(tmp_path: Path) -> None:
    with Guarded(tmp_path).meet() as guarded:
        guarded.arm(9.0)
        guarded.start(["bash", "-c", "kill -PIPE $$; exit 3"])
        assert guarded.news("gone")["status"] == -signal.SIGPIPE
