"""A move on a real terminal: the plan, the confirmation, the steps as they happen, Ctrl-C that only detaches."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mltbctl.operation import phase_line, plan_text
from mltbctl.result import Style
from tests.mltbctl.fake_daemon import FakeDaemon
from tests.mltbctl.terminal import Terminal, environment, run_process

Serve = Callable[..., FakeDaemon]

PLAN: dict[str, Any] = {
    "operation": None,
    "workload": "main",
    "from": "n1",
    "to": "n2",
    "plan": {"quorum": "3/3", "candidates": [{"node": "n2", "eligible": True, "reasons": []}]},
}


class Move:
    """The daemon's side of operation 912: it goes on by one phase each time the test lets it."""

    def __init__(self) -> None:
        self.finished = threading.Event()

    def answers(self) -> dict[str, Any]:
        return {"failover": self._failover, "operation": self._operation}

    def _failover(self, params: dict[str, Any]) -> dict[str, Any]:
        return PLAN if params["dry_run"] else PLAN | {"operation": 912}

    def _operation(self, _: dict[str, Any]) -> dict[str, Any]:
        done = self.finished.is_set()
        return {
            "id": 912,
            "workload": "main",
            "kind": "failover",
            "from": "n1",
            "to": "n2",
            "state": "done" if done else "running",
            "phases": [
                {"name": "stop workload on n1", "seconds": 0.62, "state": "done", "detail": "exited 0"},
                {"name": "start workload on n2", "seconds": 0.3, "state": "done" if done else "running", "detail": ""},
            ],
            "downtime_seconds": 0.97 if done else None,
            "token": 913 if done else None,
            "owner": "n2" if done else None,
            "error": None,
        }


def test_confirmed_and_followed_to_the_end(serve: Serve, runtime: Path) -> None:
    move = Move()
    daemon = serve(**move.answers())
    environ = environment(MLTB_RUNTIME_DIR=str(runtime))
    with Terminal("failover", environ=environ) as terminal:
        terminal.wait_for("type n2 to confirm: ")
        assert "plan   main: n1 → n2   quorum 3/3" in terminal.text
        assert [name for name, _ in daemon.calls] == ["failover"]
        terminal.type("n2\n")
        terminal.wait_for("start workload on n2")  # The running phase turns on the last line.
        move.finished.set()
        assert terminal.end() == 0
        assert "done   main runs on n2   down 0.97s   token 913   operation 912" in terminal.text
        assert terminal.text.count("✓ stop workload on n1            0.62s   exited 0") == 1


@pytest.mark.parametrize("typed", ["n1\n", "\n", "\x04"])
def test_anything_but_the_name_changes_nothing(serve: Serve, runtime: Path, typed: str) -> None:
    daemon = serve(**Move().answers())
    with Terminal("failover", environ=environment(MLTB_RUNTIME_DIR=str(runtime))) as terminal:
        terminal.wait_for("to confirm: ")
        terminal.type(typed)
        assert terminal.end() == 3
        assert "error: not confirmed; nothing was changed" in terminal.text
    assert [params["dry_run"] for _, params in daemon.calls] == [True]


def test_ctrl_c_at_the_question_changes_nothing(serve: Serve, runtime: Path) -> None:
    daemon = serve(**Move().answers())
    with Terminal("failover", environ=environment(MLTB_RUNTIME_DIR=str(runtime))) as terminal:
        terminal.wait_for("to confirm: ")
        terminal.type("\x03")
        assert terminal.end() == 130
        assert "Traceback" not in terminal.text
    assert [params["dry_run"] for _, params in daemon.calls] == [True]


def test_ctrl_c_while_following_detaches(serve: Serve, runtime: Path) -> None:
    serve(**Move().answers())
    with Terminal("failover", "--yes", environ=environment(MLTB_RUNTIME_DIR=str(runtime))) as terminal:
        terminal.wait_for("start workload on n2")
        terminal.type("\x03")
        assert terminal.end() == 130
        assert "detached: operation 912 goes on, see `mltbctl status`" in terminal.text


def test_a_daemon_away_while_following_is_waited_for(runtime: Path) -> None:
    move = Move()
    path = runtime / "mltb" / "n2.sock"
    with Terminal("failover", "--yes", "--timeout", "10", environ=environment(MLTB_SOCKET=str(path))) as terminal:
        with FakeDaemon(path, move.answers()):
            terminal.wait_for("start workload on n2")
        move.finished.set()
        with FakeDaemon(path, move.answers()) as daemon:
            terminal.wait_for("done   main runs on n2")
            assert terminal.end() == 0
            assert {name for name, _ in daemon.calls} == {"operation"}  # Nothing is begun a second time.


def test_quiet_tells_the_end_alone(serve: Serve, runtime: Path) -> None:
    move = Move()
    move.finished.set()
    serve(**move.answers())
    outcome = run_process("failover", "--yes", "-q", environ=environment(MLTB_RUNTIME_DIR=str(runtime)))
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith("done   main runs on n2")


def test_a_plan_without_owner_or_candidates() -> None:
    move: dict[str, Any] = {"workload": "main", "from": None, "to": "n2", "plan": {}}
    assert plan_text(move, Style(unicode=False)) == "plan   main: nowhere -> n2"


def test_a_phase_fits_its_line() -> None:
    phase = {"name": "stop", "seconds": 1.0, "state": "failed", "detail": "x" * 200}
    assert len(phase_line(phase, Style(width=80))) <= 80
    assert phase_line({"name": "later", "state": "waiting"}, Style()) == "  · later"
