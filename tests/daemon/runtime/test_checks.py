"""The checks of a daemon at work: real commands and files, the real core, and a guard in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mltbd.processes import mark_of
from mltbd.runtime.checks import Checks
from mltbd.runtime.environment import Environment
from mltbd.runtime.wiring import rules_of
from tests.daemon.config.machines import loaded, settings
from tests.daemon.runtime.live import Live

TOML = """
[workload.main]
command = ["x"]
env = {{ A = "b" }}
[[workload.main.check]]
kind = "command"
command = ["test", "!", "-e", "{deaf}"]
interval = {interval}
failures = 2
[[check]]
kind = "command"
name = "fit"
command = ["test", "!", "-e", "{unfit}"]
interval = 0.1
failures = 1
"""


class Post:
    """n1 alone, which runs `main`; `deaf` and `unfit` are files whose presence makes a check fail."""

    def __init__(self, tmp_path: Path, interval_s: float) -> None:
        self.deaf, self.unfit = tmp_path / "deaf", tmp_path / "unfit"
        toml = TOML.format(deaf=self.deaf, unfit=self.unfit, interval=interval_s)
        found = settings(loaded("CLUSTER_NODE_ID=n1", toml=toml, folder=tmp_path))
        self.live = Live(1, rules=rules_of(found.checks))
        self.environment = Environment(found, str(tmp_path / "n1.sock"), {"PATH": "/usr/bin:/bin"})
        self.checks = Checks(found, self.environment, mark_of(str(tmp_path)))
        self.one = self.live["n1"]

    @property
    def rows(self) -> dict[str, Any]:
        return {row["check"]: row for row in self.checks.view()["checks"]}


@pytest.fixture
def post(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Post]:
    """Its parameter is the interval of the workload's check."""
    post = Post(tmp_path, getattr(request, "param", 0.1))
    with post.live:
        post.live.formed()
        post.live.act(lambda: post.checks.start(post.one.node, post.one.driver.handle))
        post.live.act(lambda: post.one.control.attach(post.one.driver, post.checks))
        yield post
        post.live.act(post.checks.close)
        post.live.until(lambda: all(task.done() for task in post.checks._tasks), "the end of each look")


def test_a_deaf_workload_is_restarted_and_well_again(post: Post) -> None:
    live, one = post.live, post.one
    live.until(lambda: post.rows["command"]["health"] == "HEALTHY", "the first look")
    first = one.guard.leases["main"].pid
    post.deaf.touch()
    live.until(lambda: one.node.owner.workloads["main"].restarts == 1, "restart")
    assert live.ask("n1", "status")["workloads"][0]["restarts"] == 1
    post.deaf.unlink()
    live.until(lambda: one.guard.leases["main"].pid not in (0, first), "the next run")
    live.until(lambda: post.rows["command"]["health"] == "HEALTHY", "a look at the next run")


def test_what_a_node_sweeps_at_its_start_is_of_its_own_state_directory(post: Post, tmp_path: Path) -> None:
    """Several clusters on one machine may each have an n1."""
    (tmp_path / "other").mkdir()
    other = Checks(settings(loaded("CLUSTER_NODE_ID=n1")), post.environment, mark_of(str(tmp_path / "other")))
    assert not other._mark.startswith(post.checks._family)
    assert not post.checks._mark.startswith(other._family)


def test_an_unfit_node_says_so_everywhere(post: Post) -> None:
    live = post.live
    live.until(lambda: post.rows["fit"]["health"] == "HEALTHY", "the first look")
    assert live.ask("n1", "health")["healthy"] is True
    post.unfit.touch()
    live.until(lambda: post.rows["fit"]["health"] == "UNHEALTHY", "the next look")
    status = live.ask("n1", "status")
    assert status["nodes"][0]["health"] == "DEGRADED"
    assert status["nodes"][0]["troubles"] == ["check `fit`: exited with status 1"]
    assert status["cluster"]["state"] == "DEGRADED"
    assert status["workloads"][0]["state"] == "RUNNING"
    assert [alert["kind"] for alert in status["alerts"]] == ["check"]
    view = live.ask("n1", "health")
    assert (view["health"], view["healthy"]) == ("UNHEALTHY", False)
    post.unfit.unlink()
    live.until(lambda: live.ask("n1", "status")["nodes"][0]["health"] == "HEALTHY", "recovery")


def test_all_checks_can_be_run_now(post: Post) -> None:
    live = post.live
    live.until(lambda: post.rows["fit"]["health"] == "HEALTHY")
    post.unfit.touch()
    view = live.ask("n1", "health", {"run": True})
    assert not view["healthy"]
    assert [row["check"] for row in view["checks"]] == ["quorum", "running", "fit", "command"]
    assert {row["workload"] for row in view["checks"]} == {None, "main"}
    assert live.refused("n1", "health", {"run": 1})["code"] == "usage"


@pytest.mark.parametrize("post", [30.0], indirect=True)
def test_to_look_often_restarts_nothing(post: Post) -> None:
    live, one = post.live, post.one
    live.until(lambda: post.rows["command"]["health"] == "HEALTHY", "the first look")
    post.deaf.touch()
    for _ in range(3):
        live.ask("n1", "health", {"run": True})
        row = post.rows["command"]
        assert (row["detail"], row["failures"], row["health"]) == ("exited with status 1", 1, "HEALTHY")
    post.deaf.unlink()
    live.ask("n1", "health", {"run": True})
    assert post.rows["command"]["failures"] == 0
    assert one.node.owner.workloads["main"].restarts == 0


@pytest.mark.parametrize("post", [30.0], indirect=True)
def test_a_viewer_sees_what_checks_said_and_has_none_run(post: Post) -> None:
    live = post.live
    live.until(lambda: post.rows["command"]["health"] == "HEALTHY", "the first look")
    post.deaf.touch()
    error = live.refused("n1", "health", {"run": True}, role="viewer")
    assert (error["code"], error["message"]) == ("auth", "a viewer's key may not have checks run")
    assert live.ask("n1", "health", {"run": False}, role="viewer")["healthy"]
    assert post.rows["command"]["detail"] == ""


def test_what_does_not_run_here_is_not_looked_at(post: Post) -> None:
    live, one = post.live, post.one
    live.until(lambda: post.rows["command"]["health"] == "HEALTHY")
    one.guard.broken = "no such program"
    live.act(lambda: one.guard.ends("main"))
    live.until(lambda: one.node.owner.workloads["main"].state == "FAILED" or post.rows["command"]["health"] is None)
    assert post.rows["command"]["detail"] == "not here"


def test_a_check_that_breaks_is_no_good_health(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> str:
        raise ZeroDivisionError

    post.live.until(lambda: post.rows["fit"]["health"] == "HEALTHY")
    monkeypatch.setattr("mltbd.runtime.checks.look", broken)
    post.live.until(lambda: post.rows["fit"]["health"] == "UNHEALTHY")
    assert "the check itself broke" in post.rows["fit"]["detail"]


def test_what_commands_and_workloads_are_told(tmp_path: Path) -> None:
    toml = TOML.format(deaf="/d", unfit="/u", interval=1) + '[[workload.main.check]]\nkind = "heartbeat"\n'
    found = settings(loaded("CLUSTER_NODE_ID=n1", toml=toml, folder=tmp_path))
    environment = Environment(found, "/run/mltb/n1.sock", {"PATH": "/bin", "CLUSTER_SECRET": "x", "SHELL": "y"})
    assert environment.of_workload(found.workloads[0], 12) == {
        "A": "b", "PATH": "/bin", "MLTB_NODE_ID": "n1", "MLTB_SOCKET": "/run/mltb/n1.sock", "MLTB_WORKLOAD": "main",
        "MLTB_TOKEN": "12", "MLTB_HEARTBEAT": "/run/mltb/n1.main.beat",
    }  # fmt: skip
    node = {"PATH": "/bin", "SHELL": "y", "MLTB_NODE_ID": "n1", "MLTB_SOCKET": "/run/mltb/n1.sock"}
    assert environment.of_node() == node
    assert environment.beat_path("a/b") != environment.beat_path("a.b")
