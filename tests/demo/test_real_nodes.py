"""The demo as a user runs it: three real nodes, one killed, and the contract's JSON alone on stdout."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mltbctl.demo.sweep import control_groups, marked
from tests.demo.api_client import python_environment, until

DEMO = [sys.executable, "-c", "from mltbctl.cli import app; app()", "demo"]
BOUND_S = 150
FAILOVER_S = 10.0
"""What the product promises at its default settings."""


@pytest.mark.e2e
def test_the_default_demo_holds_its_promises(tmp_path: Path) -> None:
    environment = {**python_environment(), "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [*DEMO, "-o", "json"], env=environment, capture_output=True, text=True, timeout=BOUND_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    data = json.loads(done.stdout)
    assert data["schema"] == 1
    assert data["ok"] is True
    assert (data["nodes"], data["overlaps"], data["lost_messages"]) == (3, 0, 0)
    (killed,) = data["rounds"]
    assert killed["kind"] == "primary"
    assert killed["killed"] != killed["new_owner"]
    assert 0 < killed["detect_seconds"] < killed["downtime_seconds"] + 1
    assert 0 < killed["downtime_seconds"] < FAILOVER_S
    for move in ("switchover", "failback"):
        assert 0 <= data[move]["downtime_seconds"] < killed["downtime_seconds"]
    assert data["messages"]["sent"] == data["messages"]["answered"] > 50
    assert list(tmp_path.iterdir()) == []


@pytest.mark.e2e
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_demo_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    environment = {**python_environment(), "TMPDIR": str(tmp_path)}
    with subprocess.Popen(DEMO, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        until("the bot runs", lambda: any(tmp_path.glob("*/runs/*.run")), BOUND_S)
        (directory,) = tmp_path.iterdir()
        pids = marked(str(directory))
        groups = [group for pid in pids for group in control_groups(pid)]
        assert len(pids) >= 10  # Three guards, sentinels and daemons, and the bot.
        demo.send_signal(number)
        code = demo.wait(BOUND_S)
        demo.communicate()
    assert code == {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}[number]
    until("all is swept", lambda: not marked(str(directory)) and not directory.exists())
    until("no control group is left", lambda: not any(group.exists() for group in groups))
