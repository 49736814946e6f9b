"""The whole demo with nodes whose ownership is a file lock: it measures right, and it notices what is planted."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mltbctl.demo import story as module
from mltbctl.demo.cluster import NodePlan
from mltbctl.demo.report import Report
from mltbctl.demo.stage import Stage, end_command, stage
from mltbctl.demo.stand_in import Sender
from mltbctl.demo.story import Story
from mltbctl.demo.sweep import marked
from mltbctl.demo.timeline import Timeline
from mltbctl.demo.watch import Watch
from mltbctl.result import Style
from tests.demo.api_client import python_environment, until

NODE = Path(__file__).with_name("lock_node.py")


def lock_nodes(shared: Path, count: int) -> Callable[[NodePlan], list[str]]:
    """The command of each node."""
    names = ",".join(f"n{number + 1}" for number in range(count))

    def command(plan: NodePlan) -> list[str]:
        return [sys.executable, str(NODE), plan.node, str(shared), str(plan.socket), names]

    return command


def tell(here: Stage, talk: io.StringIO, *, kill: str = "primary", rounds: int = 1) -> Report:
    sockets = {node: plan.socket for node, plan in here.cluster.plans.items()}
    sender = Sender(here.stand_in, 20.0)
    with Watch(sockets) as watch:
        timeline = Timeline(talk, Style(), live=False)
        return Story(here, watch, sender, timeline, kill, rounds, calm_s=0.2).tell()


def with_bot_environment(command: Callable[[NodePlan], list[str]]) -> Callable[[NodePlan], list[str]]:
    """mltbd gives the workload what its table says; a lock node inherits its own, so it is put before it."""

    def wrapped(plan: NodePlan) -> list[str]:
        import tomllib

        table = tomllib.loads(plan.config.read_text())["workload"]["main"]["env"]
        return ["/usr/bin/env", *(f"{name}={value}" for name, value in table.items()), *command(plan)]

    return wrapped


def test_a_killed_machine_a_switchover_and_a_failback(tmp_path: Path) -> None:
    talk = io.StringIO()
    with stage(3, keep=False, command=with_bot_environment(lock_nodes(tmp_path, 3))) as here:
        report = tell(here, talk)
    assert report.error == "", talk.getvalue()
    assert report.ok, (report.messages, report.overlaps, talk.getvalue())
    data = report.data()
    (killed,) = data["rounds"]
    assert killed["killed"] != killed["new_owner"]
    assert 0 < killed["downtime_seconds"] < killed["unanswered_seconds"]
    assert 0 < killed["detect_seconds"] < killed["unanswered_seconds"]
    assert set(killed["phases"]) == {"detect", "lease", "start", "answer"}
    total = sum(killed["phases"].values())
    assert abs(total - killed["unanswered_seconds"]) < 0.5
    assert data["failback"]["to"] == "n1"
    assert data["switchover"]["to"] == data["failback"]["from"] != "n1"
    assert data["messages"]["sent"] == data["messages"]["answered"] > 20
    assert (data["overlaps"], data["lost_messages"]) == (0, 0)
    assert "killed" in talk.getvalue()
    assert not here.directory.exists()
    assert marked(str(here.directory)) == set()


def test_two_owners_are_noticed(tmp_path: Path) -> None:
    (tmp_path / "careless").touch()
    with stage(3, keep=False, command=with_bot_environment(lock_nodes(tmp_path, 3))) as here:
        report = tell(here, io.StringIO(), kill="none")
    assert not report.ok
    assert report.overlaps
    assert "ran at once for" in report.text(Style())


def test_two_nodes_stand_still_until_the_other_is_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NO_QUORUM_S", 0.8)
    talk = io.StringIO()
    with stage(2, keep=False, command=with_bot_environment(lock_nodes(tmp_path, 2))) as here:
        report = tell(here, talk)
    assert report.ok, talk.getvalue()
    assert report.steps[0].downtime_s > 0.8
    assert "nobody may start the bot" in talk.getvalue()


def test_a_node_that_ends_by_itself_is_reported(tmp_path: Path) -> None:
    talk = io.StringIO()
    with stage(1, keep=False, command=lambda _: [sys.executable, "-c", "raise SystemExit(3)"]) as here:
        report = tell(here, talk)
    assert report.error == "n1 ended by itself with exit code 3"
    assert not report.ok
    assert report.error in talk.getvalue()
    assert tmp_path.exists()


def test_an_interruption_leaves_nothing(tmp_path: Path) -> None:
    command = with_bot_environment(lock_nodes(tmp_path, 1))
    with pytest.raises(KeyboardInterrupt), stage(1, keep=True, command=command) as here:  # noqa: PT012
        here.cluster.start("n1")
        until("the bot runs", lambda: bool(here.runs()))
        assert len(marked(str(here.directory))) >= 3
        raise KeyboardInterrupt
    assert marked(str(here.directory)) == set()
    assert not here.directory.exists()


def test_keep_leaves_it_running_until_the_printed_command(tmp_path: Path) -> None:
    with stage(1, keep=True, command=with_bot_environment(lock_nodes(tmp_path, 1))) as here:
        here.cluster.start("n1")
        until("the bot runs", lambda: bool(here.runs()))
    try:
        assert here.directory.exists()
        assert len(marked(str(here.directory))) >= 3
    finally:
        done = subprocess.run(
            end_command(here.directory).split(),
            env=python_environment(),
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    assert done.stdout.startswith("ended ")
    assert marked(str(here.directory)) == set()
    assert not here.directory.exists()
    here.cluster.stop()
    here.stand_in.close()


def test_a_demo_that_is_killed_itself_is_swept(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; sys.path.insert(0, '.');"
        "from tests.demo.test_story import *;"
        f"s = stage(1, keep=False, command=with_bot_environment(lock_nodes(Path({str(tmp_path)!r}), 1)));"
        "here = s.__enter__(); here.cluster.start('n1'); print(here.directory, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], env=python_environment(), stdout=subprocess.PIPE) as demo:
        assert demo.stdout is not None
        directory = Path(demo.stdout.readline().decode().strip())
        until("the bot runs", lambda: any((directory / "runs").glob("*.run")))
        demo.kill()
    until("it is swept", lambda: not marked(str(directory)) and not directory.exists())
