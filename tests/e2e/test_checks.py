"""One real node with checks and hooks: a bot that turns deaf is restarted, and every hook is in the history."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mltbctl.client import Client, MltbError
from mltbctl.demo.cluster import clean_environment, free_port_pairs
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")]

PATIENCE_S = 60.0
BOT = """
import os, pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
beat, deaf = pathlib.Path(os.environ["MLTB_HEARTBEAT"]), pathlib.Path(sys.argv[1])
while True:
    if not deaf.exists():
        beat.touch()
    time.sleep(0.05)
"""
TOML = """
preset = "development"
CLUSTER_NODE_ID = "n1"
CLUSTER_PORT = {port}
FAILOVER_FAILURE_THRESHOLD = 1000

[workload.main]
command = {command}
[workload.main.hooks]
pre_start = {pre_start}
post_stop = {post_stop}
[[workload.main.check]]
kind = "heartbeat"
interval = 0.2
max_age = 2.0
[[workload.main.check]]
kind = "command"
command = ["sh", "-c", "test -n \\"$MLTB_TOKEN\\""]
interval = 0.5
[[check]]
kind = "disk"
path = "/"
min_free_percent = 0
"""


def test_a_deaf_bot_is_restarted_and_its_hooks_are_told(tmp_path: Path) -> None:
    deaf, notes, bot = tmp_path / "deaf", tmp_path / "notes", tmp_path / "bot.py"
    bot.write_text(BOT, encoding="utf-8")
    note = ["sh", "-c", f"echo $MLTB_HOOK $MLTB_WORKLOAD >> {notes}"]
    (port,) = free_port_pairs(1)
    config = tmp_path / "mltb.toml"
    command = json.dumps([sys.executable, "-S", str(bot), str(deaf)])
    failing = json.dumps([*note[:2], f"{note[2]}; exit 7"])
    config.write_text(TOML.format(port=port, command=command, pre_start=json.dumps(note), post_stop=failing), "utf-8")
    config.chmod(0o600)
    places = ["--state-dir", str(tmp_path / "state"), "--runtime-dir", str(tmp_path / "run")]
    argv = [sys.executable, "-m", "mltbd.main", "run", "--config", str(config), *places]
    with (tmp_path / "log").open("wb") as log:
        node = subprocess.Popen(argv, env=clean_environment(tmp_path.name), stderr=log, stdin=subprocess.DEVNULL)
    client = Client(str(tmp_path / "run" / "mltb" / "n1.sock"), timeout=5)

    def ask(what: str, **params: Any) -> dict[str, Any]:
        try:
            return dict(getattr(client, what)(**params))
        except MltbError:
            return {}

    def main() -> dict[str, Any]:
        return dict((ask("status").get("workloads") or [{}])[0])

    def healthy(but: int = 0) -> int:
        """The pid of a run that is well, and another one than this."""
        seen = main()
        well = seen.get("health") == "HEALTHY" and seen.get("state") == "RUNNING"
        return int(seen["pid"] or 0) if well and seen["pid"] != but else 0

    try:
        first = until(healthy, PATIENCE_S, "a healthy bot")
        health = ask("health", run=True)
        assert health["healthy"], health
        assert {row["check"]: row["health"] for row in health["checks"]} == dict.fromkeys(
            ("quorum", "running", "heartbeat", "command", "disk"), "HEALTHY"
        )
        deaf.touch()
        until(lambda: main().get("restarts"), PATIENCE_S, "a restart")
        deaf.unlink()
        until(lambda: healthy(but=first), PATIENCE_S, "the next run")
        told = notes.read_text(encoding="utf-8").split("\n")
        assert told[:3] == ["pre_start main", "post_stop main", "pre_start main"]
        until(lambda: "hook" in [event["kind"] for event in ask("events").get("events", [])], PATIENCE_S, "the history")
        node.send_signal(signal.SIGTERM)
        assert node.wait(PATIENCE_S) == 0
        assert notes.read_text(encoding="utf-8").split("\n")[3] == "post_stop main"
    except BaseException:
        sys.stderr.write((tmp_path / "log").read_text(encoding="utf-8"))
        raise
    finally:
        client.close()
        node.kill()
        node.wait()
