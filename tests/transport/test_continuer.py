"""A stopped process goes on at the moment it set, also when it is stopped again before it could set another."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import holds, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there is no such timer on this system")
AHEAD_S = 0.5
SLEEPER = """
import sys, time
from mltb_transport import continuer
continuer.AGAIN_S = 1.0  # Time enough for a test to come in between.
timer = continuer.Continuer()
now = time.clock_gettime(time.CLOCK_BOOTTIME)
for ahead_s in sys.argv[1:]:
    timer.set(now + float(ahead_s))
sys.stdout.write("ready")
sys.stdout.flush()
time.sleep(600)
"""


def stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.mark.parametrize(
    ("ahead_s", "continued"),
    [
        ((AHEAD_S,), 2),
        ((60.0, AHEAD_S), 2),
        ((math.inf, AHEAD_S), 2),
        ((AHEAD_S, 60.0), 0),
        ((AHEAD_S, math.inf), 0),
    ],
    ids=["in time", "earlier", "on again", "later", "off"],
)
def test_it_continues_at_the_last_moment_set_and_once_more(ahead_s: tuple[float, ...], continued: int) -> None:
    argv = [sys.executable, "-c", SLEEPER, *map(str, ahead_s)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            assert process.stdout.read(5) == b"ready"
            for _ in range(continued):
                os.kill(process.pid, signal.SIGSTOP)
                until(lambda: stopped(process.pid))
                until(lambda: not stopped(process.pid))
            os.kill(process.pid, signal.SIGSTOP)
            until(lambda: stopped(process.pid))
            holds(lambda: stopped(process.pid), 2 * AHEAD_S, "it stays stopped")
        finally:
            process.kill()
