"""The command line as a user meets it: help, exit codes, stdout and stderr of each command, whole."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mltbctl.cli import Root
from mltbctl.groups import ConfigGroup, SecretGroup
from mltbctl.lock_group import LockGroup
from mltbctl.node_group import NodeGroup
from mltbctl.state_group import StateGroup
from tests.mltbctl import golden, pictures
from tests.mltbctl.fake_daemon import FakeDaemon, Refusal
from tests.mltbctl.terminal import run_here

Serve = Callable[..., FakeDaemon]
GROUPS = {"config": ConfigGroup, "secret": SecretGroup, "lock": LockGroup, "state": StateGroup, "node": NodeGroup}

PLAN = {
    "operation": None,
    "workload": "main",
    "from": "n1",
    "to": "n2",
    "plan": {
        "quorum": "3/3",
        "candidates": [
            {"node": "n1", "eligible": False, "reasons": ["owns it already"]},
            {"node": "n2", "eligible": True, "reasons": []},
            {"node": "n3", "eligible": True, "reasons": ["lower priority"]},
        ],
    },
}
PHASES = [
    {"name": "stop workload on n1", "seconds": 0.62, "state": "done", "detail": "SIGTERM, exited 0"},
    {"name": "release the lease", "seconds": 0.02, "state": "done", "detail": ""},
    {"name": "start workload on n2", "seconds": 0.31, "state": "done", "detail": ""},
]


def check(
    workload: str | None, name: str, kind: str, health: str | None, detail: str = "", **more: Any
) -> dict[str, Any]:
    """One row of `health`."""
    row = {"workload": workload, "check": name, "kind": kind, "health": health, "detail": detail}
    return row | {"seconds": None, "age_seconds": None, "failures": 0} | more


HEALTH: dict[str, Any] = {
    "schema": 1, "node": "n2", "health": "HEALTHY", "healthy": True,
    "checks": [
        check(None, "quorum", "built in", "HEALTHY"),
        check("main", "running", "built in", "HEALTHY", "running"),
        check(None, "disk", "disk", "HEALTHY", seconds=0.001, age_seconds=4.0),
        check("main", "http", "http", "HEALTHY", seconds=0.012, age_seconds=2.0),
        check("jobs", "heartbeat", "heartbeat", None, "not here"),
    ],
}  # fmt: skip
UNHEALTHY = HEALTH | {
    "health": "UNHEALTHY", "healthy": False,
    "checks": [
        check("main", "http", "http", "UNHEALTHY", "status 503 instead of 200", seconds=0.2, age_seconds=1.0),
        check("main", "heartbeat", "heartbeat", "UNKNOWN"),
    ],
}  # fmt: skip


def operation(state: str = "done", **changes: Any) -> dict[str, Any]:
    """Operation 912 as the daemon tells it."""
    done = {
        "id": 912, "workload": "main", "kind": "failover", "from": "n1", "to": "n2", "state": state, "phases": PHASES,
        "downtime_seconds": 0.97, "token": 913, "owner": "n2", "error": None,
    }  # fmt: skip
    return done | changes


def started(params: dict[str, Any]) -> dict[str, Any]:
    """A move: planned when that was asked for, else begun."""
    return PLAN if params.get("dry_run") else PLAN | {"operation": 912}


def again(params: dict[str, Any]) -> dict[str, Any]:
    """The same move is under way, its target owns the workload: nothing is begun a second time."""
    assert params["dry_run"]
    return PLAN | {"operation": 912, "from": "n2", "message": "operation 912 moves `main` to n2 already"}


def change(cause: str, before: int, after: int) -> dict[str, Any]:
    """A change of the voters, with its arithmetic."""
    sums = [
        {"voters": n, "needed": n // 2 + 1, "reachable": n, "failure_tolerance": (n - 1) // 2} for n in (before, after)
    ]
    names = [f"n{number}" for number in range(1, after + 1)]
    return {"node": "n3", "cause": cause, "before": sums[0], "after": sums[1], "voters": names}


UNMET = {"status": lambda _: dated(pictures.with_an_unmet_voter())}


def not_removed(_: dict[str, Any]) -> dict[str, Any]:
    """It would cost the quorum."""
    why = "without n3 there would be no quorum: 1 of 2 voters answer, 2 needed"
    raise Refusal(code="refused", message=why, hint="mltbctl status")


def refused(_: dict[str, Any]) -> dict[str, Any]:
    """No node may take over."""
    raise Refusal(
        code="refused",
        message="`n3` cannot take over `main`",
        hint="run `mltbctl failover --to n2`",
        candidates=[
            {"node": "n3", "eligible": False, "reasons": ["does not answer", "14 entries behind"]},
            {"node": "n2", "eligible": True, "reasons": []},
        ],
    )


def dated(picture: dict[str, Any]) -> dict[str, Any]:
    """`picture` looked at now."""
    ago = time.time() - pictures.NOW
    for workload in picture["workloads"]:
        workload["since"] = workload["since"] and pictures.instant(-ago + 3 * 86_400 + 4 * 3600 + 60)
    if picture["failover"]["last_failover_time"]:
        picture["failover"]["last_failover_time"] = pictures.instant(-ago + 6 * 86_400 + 60)
    return picture


def answers() -> dict[str, Any]:
    """Of a healthy cluster where every wish is granted."""
    return {
        "status": lambda _: dated(pictures.healthy()),
        "ping": lambda _: {"node": "n2", "version": "0.1.0"},
        "is": lambda params: {
            "answer": {"leader": True, "primary": False, "healthy": None}[params["what"]],
            "reason": "as the test says",
        },
        "health": lambda _: HEALTH,
        "failover": started,
        "switchover": started,
        "failback": started,
        "failback_cancel": lambda _: {},
        "operation": lambda _: operation(),
        "pause": lambda _: {"changed": True, "message": "no automatic moves", "at": 920},
        "resume": lambda _: {"changed": False, "message": "the cluster is not paused", "at": 920},
        "node_remove": lambda _: change("removed", 3, 2),
        "node_promote": lambda _: change("promoted", 3, 4),
        "node_admit": lambda _: change("admitted", 3, 3),
        "drain": lambda params: {"changed": not params["dry_run"], "message": "n3 is drained", "at": 921},
        "undrain": lambda _: {"changed": True, "message": "n3 takes workloads", "at": 922},
    }


HEALTHY: dict[str, str] = {
    "status": "status",
    "status-verbose": "-v status",
    "status-json": "status -o json",
    "status-jsonl": "status -o jsonl",
    "status-colour": "--color always status",
    "status-exit-code": "status --exit-code",
    "nodes": "nodes",
    "nodes-jsonl": "list -o jsonl",
    "is-true": "is leader",
    "is-false": "is primary n3",
    "is-unknown": "is healthy",
    "is-quiet": "is leader -q",
    "is-json": "is primary -o json",
    "health": "health",
    "health-json": "health --run -o json",
    "wait-leader": "wait leader",
    "wait-node": "wait leader n1 -o json",
    "wait-timeout": "wait healthy n3 --timeout 0.05",
    "failover-no-terminal": "failover",
    "failover-dry-run": "failover --dry-run",
    "failover-dry-run-json": "failover --dry-run -o json",
    "failover-yes": "failover --yes",
    "failover-yes-json": "failover --yes -o json",
    "failover-no-wait": "failover --yes --no-wait --reason test",
    "switchover": "switchover --to n2 --yes -q",
    "switchover-no-target": "switchover",
    "failback": "failback --yes",
    "failback-cancel": "failback --cancel",
    "failback-cancel-dry-run": "failback --cancel --dry-run",
    "pause": "pause --for 30m --reason kernel",
    "pause-json": "pause -o json",
    "resume": "resume",
    "resume-json": "resume -o json",
    "node-show": "node show n1",
    "node-show-json": "node show n1 -o json",
    "node-show-unknown": "node show n9",
    "node-drain": "node drain n3 -q --reason disk --no-wait",
    "node-drain-dry-run": "node drain n3 --dry-run",
    "node-drain-json": "node drain n3 --no-wait -o json",
    "node-remove": "node remove n3 --yes",
    "node-remove-dry-run": "node remove n3 --dry-run",
    "node-remove-no-terminal": "node remove n3",
    "node-remove-json": "node remove n3 --yes -q -o json",
    "node-promote": "node promote n4",
    "node-promote-dry-run-json": "node promote n4 --dry-run -o json",
    "node-admit": "node admit n3",
    "node-undrain": "node undrain n3",
    "node-undrain-json": "node undrain n3 -o json",
    "switchover-at": "switchover --to n2 --yes -q --at 918",
    "no-such-node": "--node n9 status",
    "bad-node": "--node :: status",
}
ALONE: dict[str, str] = {
    "no-arguments": "",
    "no-daemon": "status",
    "no-daemon-json": "-o json status",
    "no-daemon-is-quiet": "is leader -q",
    "no-such-command": "statsu",
    "no-such-command-json": "-o json statsu",
    "later-command": "standby",
    "pause-bad-time": "pause --for soon",
    "no-such-config-command": "config valdate",
    "no-such-option": "status --watsh",
    "no-such-option-json": "status --watsh -o json",
    "global-option-late": "lock list -n n2",
    "global-flag-late": "lock list --verbose",
    "lock-run-no-dashes": "lock run r1 sh -c true",
    "bad-output": "-o yaml status",
    "bad-timeout": "--timeout 0 status",
    "bad-timeout-word": "status --timeout soon",
    "bad-colour": "--color pink status",
    "bad-question": "is purple",
    "bad-interval": "status --watch 0.01",
    "help-exit-codes": "help exit-codes",
    "help-beyond": "help lock run backup",
    "help-exit-codes-json": "help exit-codes -o json",
    "secret-new": "secret new",
    "secret-new-quiet": "secret new -q",
    "secret-show-none": "secret show",
}


def record(name: str, command: str, capsys: pytest.CaptureFixture[str], runtime: Path) -> None:
    outcome = run_here(capsys, *command.split())
    text = golden.transcript(f"mltbctl {command}".rstrip(), outcome.code, outcome.out, outcome.err)
    golden.check(f"cli-{name}", text, hidden=str(runtime))


@pytest.mark.parametrize("name", sorted(HEALTHY))
def test_with_a_healthy_cluster(name: str, capsys: pytest.CaptureFixture[str], runtime: Path, serve: Serve) -> None:
    serve(**answers())
    record(name, HEALTHY[name], capsys, runtime)


@pytest.mark.parametrize("name", sorted(ALONE))
def test_with_no_daemon(name: str, capsys: pytest.CaptureFixture[str], runtime: Path) -> None:
    record(name, ALONE[name], capsys, runtime)


@pytest.mark.parametrize(
    ("name", "command", "changes"),
    [
        ("no-quorum-status", "status", {"status": lambda _: dated(pictures.no_quorum())}),
        ("no-quorum-exit-code", "status --exit-code", {"status": lambda _: dated(pictures.no_quorum())}),
        ("degraded-exit-code", "status --exit-code", {"status": lambda _: dated(pictures.unreachable_node())}),
        ("refused", "failover --to n3 --yes", {"failover": refused}),
        ("refused-json", "failover --to n3 --dry-run -o json", {"failover": refused}),
        ("node-remove-refused", "node remove n3 --yes", {"node_remove": not_removed}),
        ("node-drain-refused", "node drain n1", {"drain": refused}),
        ("node-drain-timeout", "node drain n1 --timeout 0.2", {}),
        ("node-drain-timeout-json", "node drain n1 --timeout 0.2 -o json", {}),
        ("status-paused", "status", {"status": lambda _: dated(pictures.paused_and_drained())}),
        ("node-show-drained", "node show n3", {"status": lambda _: dated(pictures.paused_and_drained())}),
        ("node-show-silent", "node show n1", {"status": lambda _: dated(pictures.no_quorum())}),
        *((f"unmet-{words[0]}", " ".join(words), UNMET) for words in (("status",), ("nodes",), ("node", "show", "n3"))),
        ("health-bad", "health", {"health": lambda _: UNHEALTHY}),
        (
            "failed",
            "failover --yes",
            {"operation": lambda _: operation("failed", error="`main` does not start on n2", owner=None)},
        ),
        *(
            (f"again{name}", f"switchover --to n2{words}", {"switchover": again})
            for name, words in (("", ""), ("-dry-run", " --dry-run"), ("-no-wait", " --no-wait"))
        ),
        ("timeout", "failover --yes --timeout 0.2", {"operation": lambda _: operation("running")}),
        ("timeout-json", "failover --yes --timeout 0.2 -o json", {"operation": lambda _: operation("running")}),
    ],
)
def test_with_trouble(
    name: str,
    command: str,
    changes: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    runtime: Path,
    serve: Serve,
) -> None:
    serve(**(answers() | changes))
    record(name, command, capsys, runtime)


@pytest.mark.usefixtures("runtime")
def test_help_of_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    names = [*Root.members]
    for group, nested in GROUPS.items():
        names += [f"{group} {name}" for name in nested.members]
    parts = []
    for name in names:
        long, short = run_here(capsys, *name.split(), "--help"), run_here(capsys, *name.split(), "-h")
        assert long == short
        assert (long.code, long.err) == (0, "")
        parts.append(f"$ mltbctl {name} --help\n{long.out}\n")
    golden.check("cli-help", "".join(parts))


def test_summaries_fit_one_line() -> None:
    for group in (Root, *GROUPS.values()):
        for name, member in group.members.items():
            assert len(member.summary) <= 66, f"the summary of `{name}` wraps in the list of commands"


@pytest.mark.usefixtures("runtime")
def test_version_is_a_number(capsys: pytest.CaptureFixture[str]) -> None:
    asked, told = run_here(capsys, "--version"), run_here(capsys, "version")
    assert asked == told
    assert told.out.startswith("mltbctl ")


@pytest.mark.usefixtures("runtime")
def test_help_topic_is_the_help_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here(capsys, "help", "config", "show") == run_here(capsys, "config", "show", "--help")


def test_output_from_the_environment(
    capsys: pytest.CaptureFixture[str], serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(**answers())
    monkeypatch.setenv("MLTBCTL_OUTPUT", "json")
    assert run_here(capsys, "is", "leader").out.startswith('{\n  "schema": 1,')
    assert run_here(capsys, "is", "leader", "-o", "plain").out == "true\n"
    monkeypatch.setenv("MLTBCTL_OUTPUT", "xml")
    assert run_here(capsys, "is", "leader").code == 2


def test_the_confirmed_target_is_what_is_asked_for(capsys: pytest.CaptureFixture[str], serve: Serve) -> None:
    daemon = serve(**answers())
    assert run_here(capsys, "failover", "--yes", "--reason", "disk swap").code == 0
    assert daemon.calls[:2] == [
        ("failover", {"workload": "main", "reason": "disk swap", "dry_run": True}),
        ("failover", {"workload": "main", "to": "n2", "reason": "disk swap", "dry_run": False}),
    ]


def test_traceback_with_debug_only(capsys: pytest.CaptureFixture[str], serve: Serve) -> None:
    serve(status=lambda _: {"nonsense": True})
    quiet, loud = run_here(capsys, "nodes"), run_here(capsys, "--debug", "nodes")
    assert quiet.code == loud.code == 1
    assert "error: internal error: KeyError" in quiet.err
    assert "Traceback" not in quiet.err
    assert "Traceback" in loud.err


def test_reason_has_a_limit(capsys: pytest.CaptureFixture[str], serve: Serve) -> None:
    daemon = serve(**answers())
    assert run_here(capsys, "failover", "--yes", "--reason", "x" * 201).code == 2
    assert daemon.calls == []


def test_columns_from_the_environment(
    capsys: pytest.CaptureFixture[str], serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(**answers())
    monkeypatch.setenv("COLUMNS", "80")
    narrow = run_here(capsys, "status").out
    assert max(map(len, narrow.split(os.linesep))) <= 80
    assert "RTT" not in narrow
