"""Checks as they are written: what each kind needs, what is refused and why, and where defaults come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mltbd.config.checks import CHECKS_MAX, NODE_KINDS, WORKLOAD_KINDS, CheckSpec, read_checks
from tests.daemon.config.machines import loaded, settings

BOTH = tuple(dict.fromkeys((*WORKLOAD_KINDS, *NODE_KINDS)))


@pytest.mark.parametrize(
    ("table", "spec"),
    [
        ({"kind": "process"}, CheckSpec("process", "process", "main")),
        ({"kind": "tcp", "address": "[::1]:80"}, CheckSpec("tcp", "tcp", "main", host="::1", port=80)),
        (
            {"kind": "http", "url": "https://a.example:1/x?y", "status": 204, "body": "ok", "grace": 20},
            CheckSpec("http", "http", "main", url="https://a.example:1/x?y", status=204, body="ok", grace_s=20.0),
        ),
        ({"kind": "http", "url": "http://[::1]/"}, CheckSpec("http", "http", "main", url="http://[::1]/")),
        (
            {"kind": "command", "command": ["x", "y"], "name": "mine", "timeout": 1, "interval": 2.5},
            CheckSpec("mine", "command", "main", argv=("x", "y"), timeout_s=1.0, interval_s=2.5),
        ),
        (
            {"kind": "heartbeat", "max_age": 5, "successes": 2},
            CheckSpec("heartbeat", "heartbeat", "main", failures=1, successes=2, max_age_s=5.0),
        ),
        ({"kind": "heartbeat", "failures": 2}, CheckSpec("heartbeat", "heartbeat", "main", failures=2)),
        (
            {"kind": "disk", "path": "/", "min_free_percent": 7},
            CheckSpec("disk", "disk", "main", path="/", min_free_percent=7.0),
        ),
    ],
)
def test_a_table_becomes_a_spec(table: dict[str, Any], spec: CheckSpec) -> None:
    assert read_checks([table], "check", BOTH, "main") == ((spec,), [])


@pytest.mark.parametrize(
    ("table", "message", "hint"),
    [
        ({}, "no kind of check here", "`process`"),
        ({"kind": "htp"}, "no kind of check here", "did you mean `http`?"),
        ({"kind": 1}, "no kind of check here", ""),
        ({"kind": "redis"}, "no checks of kind `redis`", "`command`"),
        ({"kind": "tcp"}, "needs `address`", "127.0.0.1:8080"),
        ({"kind": "tcp", "address": "x"}, "no `host:port`", "127.0.0.1:8080"),
        ({"kind": "tcp", "address": "x:0"}, "no `host:port`", ""),
        ({"kind": "tcp", "address": "x:65536"}, "no `host:port`", ""),
        ({"kind": "tcp", "address": "a b:1"}, "neither an IP address nor the name", ""),
        ({"kind": "http"}, "needs `url`", "http://"),
        ({"kind": "http", "url": "ftp://x/"}, "no URL of http", ""),
        ({"kind": "http", "url": "http://"}, "no URL of http", ""),
        ({"kind": "http", "url": "http://x:99999/"}, "no URL", ""),
        ({"kind": "http", "url": "http://u:p@x/"}, "no user", ""),
        ({"kind": "http", "url": "http://a..b/"}, "neither an IP address nor the name", "http://"),
        ({"kind": "http", "url": f"http://{'a' * 64}/"}, "neither an IP address nor the name", ""),
        ({"kind": "http", "url": "http://x/\r\nHost: y"}, "no user, no blanks", ""),
        ({"kind": "http", "url": "http://x/", "status": 99}, "outside 100 to 599", ""),
        ({"kind": "http", "url": "http://x/", "body": "y" * 1001}, "longer than 1000", ""),
        ({"kind": "command", "command": "is well"}, "never one string", '["is", "well"]'),
        ({"kind": "heartbeat", "max_age": 0}, "outside 0.1 to 86400", ""),
        ({"kind": "heartbeat", "max_age": float("nan")}, "outside 0.1 to 86400", ""),
        ({"kind": "process", "interval": 10**400}, "outside 0.1 to 86400", ""),
        ({"kind": "process", "failures": 0}, "outside 1 to 1000", ""),
        ({"kind": "process", "failures": 1.5}, "a whole number", ""),
        ({"kind": "process", "grace": -1}, "outside 0 to", ""),
        ({"kind": "process", "name": "a b"}, "no name for a check", ""),
        ({"kind": "process", "url": "x"}, "`url` is no key of a `process` check", ""),
        ({"kind": "disk", "path": "srv"}, "not an absolute path", ""),
        ({"kind": "disk", "path": "/", "min_free_percent": 101}, "no percentage", ""),
        ({"kind": "disk", "path": "/", "min_free_percent": True}, "no percentage", ""),
    ],
)
def test_what_a_check_may_not_say(table: dict[str, Any], message: str, hint: str) -> None:
    specs, problems = read_checks([table], "check", BOTH)
    assert specs == ()
    assert [problem.key for problem in problems] == ["check"]
    assert message in problems[0].message
    assert hint in problems[0].hint


def test_two_of_a_kind_need_names() -> None:
    table = {"kind": "tcp", "address": "x:1"}
    specs, problems = read_checks([table, table], "check", BOTH)
    assert len(specs) == 1
    assert "two checks are called `tcp`" in problems[0].message
    specs, problems = read_checks([table, table | {"name": "other"}], "check", BOTH)
    assert [spec.name for spec in specs] == ["tcp", "other"]
    assert not problems


@pytest.mark.parametrize("raw", [{"kind": "process"}, ["process"], [{"kind": "process"}] * (CHECKS_MAX + 1)])
def test_what_checks_may_not_be(raw: object) -> None:
    specs, problems = read_checks(raw, "check", BOTH)
    assert specs == ()
    assert len(problems) == 1


TOML = """
HEALTH_CHECK_INTERVAL = 9
HEALTH_CHECK_TIMEOUT = 4
HEALTH_FAILURE_THRESHOLD = 2
[workload.main]
command = ["x"]
[[workload.main.check]]
kind = "tcp"
address = "127.0.0.1:1"
interval = 1
[[check]]
kind = "disk"
path = "/"
failures = 7
"""


def test_the_options_give_what_a_check_does_not_say(tmp_path: Path) -> None:
    disk, tcp = settings(loaded(toml=TOML, folder=tmp_path)).checks
    assert (disk.workload, disk.interval_s, disk.timeout_s, disk.failures) == ("", 9.0, 4.0, 7)
    assert (tcp.workload, tcp.interval_s, tcp.timeout_s, tcp.failures) == ("main", 1.0, 4.0, 2)


def test_checks_can_be_switched_off_without_deleting_them(tmp_path: Path) -> None:
    assert settings(loaded("HEALTH_MONITOR_ENABLED=0", toml=TOML, folder=tmp_path)).checks == ()
    assert len(settings(loaded("HEALTH_MONITOR_ENABLED=1", toml=TOML, folder=tmp_path)).checks) == 2
