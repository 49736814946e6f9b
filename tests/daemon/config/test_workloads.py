"""Workloads of the TOML: what a table may say, what is refused and why, and the environment of the process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mltbd.config.checks import CHECKS_MAX, CheckSpec
from mltbd.config.fields import ARGUMENT_CHARS_MAX, ARGUMENTS_MAX
from mltbd.config.names import NODE_ID_CHARS_MAX
from mltbd.config.workloads import (
    COPY_NAME_CHARS_MAX,
    HOOK_TIMEOUT_S,
    INHERITED,
    PREFERRED_MAX,
    VARIABLES_MAX,
    WORKLOADS_MAX,
    WorkloadSpec,
    on_node,
    read_workloads,
)
from mltbd.core.timing import Timing
from mltbd.orders import NAME_CHARS_MAX, WITHHELD
from tests.daemon.config.machines import loaded, problem, settings

BOT: dict[str, Any] = {"command": ["python3", "-m", "bot"]}


def test_a_whole_table_becomes_a_spec(tmp_path: Path) -> None:
    toml = """
    [workload.main]
    command = ["python3", "-m", "bot"]
    cwd = "/srv/bot"
    env = { TOKEN = "t", PORT = 8080 }
    inherit = ["PATH"]
    singleton = true
    stop_timeout = 0.25
    preferred = ["n2", "n1"]
    [[workload.main.check]]
    kind = "process"
    [workload.aria]
    command = ["aria2c"]
    """
    aria, main = settings(loaded(toml=toml, folder=tmp_path)).workloads
    assert main == WorkloadSpec(
        name="main",
        argv=("python3", "-m", "bot"),
        cwd="/srv/bot",
        env=(("PORT", "8080"), ("TOKEN", "t")),
        inherit=("PATH",),
        stop_timeout_s=0.25,
        preferred=("n2", "n1"),
        stop_timeout_given=True,
        checks=(CheckSpec("process", "process", "main"),),
    )
    assert aria == WorkloadSpec(name="aria", argv=("aria2c",))


WEB = """
[workload.web]
command = ["web"]
singleton = false
preferred = ["n2"]
[[workload.web.check]]
kind = "process"
[workload.main]
command = ["bot"]
"""


def test_what_is_no_singleton_becomes_the_copy_of_this_node(tmp_path: Path) -> None:
    found = loaded("HA_STRATEGY=active_active", "CLUSTER_NODE_ID=n1", toml=WEB, folder=tmp_path)
    main, web = settings(found).workloads
    assert (main.name, web.name, web.argv) == ("main", "web@n1", ("web",))
    assert [check.workload for check in web.checks] == ["web@n1"]
    assert [check.workload for check in settings(found).checks] == ["web@n1"]
    assert [workload.name for workload in found.workloads] == ["main", "web"], "what is shown is what was written"


@pytest.mark.parametrize("strategy", ["active_passive", "distributed"])
def test_a_copy_on_every_node_has_to_be_said_twice(strategy: str, tmp_path: Path) -> None:
    found = loaded(f"HA_STRATEGY={strategy}", toml=WEB, folder=tmp_path)
    told = problem(found, "workload.web.singleton")
    assert f"`web` would run on every node, and HA_STRATEGY is {strategy}" in told.message
    assert "active_active" in told.hint


def test_the_strategy_alone_makes_no_singleton_run_twice(tmp_path: Path) -> None:
    toml = '[workload.main]\ncommand = ["bot"]'
    found = loaded("HA_STRATEGY=active_active", toml=toml, folder=tmp_path)
    assert [workload.name for workload in settings(found).workloads] == ["main"]


def test_the_name_of_a_copy_fits_where_names_go() -> None:
    name = "w" * COPY_NAME_CHARS_MAX
    (spec,), problems = read_workloads({name: BOT | {"singleton": False}}, {})
    assert not problems
    (copy,) = on_node((spec,), "n" * NODE_ID_CHARS_MAX)
    assert len(copy.name) == NAME_CHARS_MAX
    _, (told,) = read_workloads({f"{name}w": BOT | {"singleton": False}}, {})
    assert f"at most {COPY_NAME_CHARS_MAX} characters" in told.message
    assert read_workloads({f"{name}w": BOT}, {})[1] == []


def test_the_environment_is_clean_but_for_what_is_inherited_and_given() -> None:
    spec = WorkloadSpec("main", ("x",), env=(("A", "1"), ("PATH", "/mine")), inherit=("PATH", "HOME", "TZ"))
    daemon = {"PATH": "/bin", "HOME": "/root", "OTHER": "x", "CLUSTER_SECRET": "s"}
    assert spec.environment(daemon) == {"PATH": "/mine", "HOME": "/root", "A": "1"}


def test_nothing_withheld_is_inherited_by_default_or_on_demand() -> None:
    assert not WITHHELD & set(INHERITED)
    spec = WorkloadSpec("main", ("x",), inherit=tuple(WITHHELD))
    assert spec.environment(dict.fromkeys(WITHHELD, "1")) == {}


@pytest.mark.parametrize(
    ("table", "part", "message", "hint"),
    [
        ({}, "command", "missing", 'command = ["python3"'),
        ({"command": "python3 -m bot"}, "command", "never one string", '["python3", "-m", "bot"]'),
        ({"command": []}, "command", "needs a program", ""),
        ({"command": [""]}, "command", "needs a program", ""),
        ({"command": ["a", 1]}, "command", "each argument is text", "quotes"),
        ({"command": 7}, "command", "list of arguments is needed", ""),
        ({"command": ["a\0"]}, "command", "zero byte", ""),
        ({"command": ["a"] * (ARGUMENTS_MAX + 1)}, "command", "are more than", ""),
        ({"command": ["a" * (ARGUMENT_CHARS_MAX + 1)]}, "command", "is longer than", ""),
        (BOT | {"cwd": "bot"}, "cwd", "not an absolute path", "/srv/bot"),
        (BOT | {"cwd": 1}, "cwd", "is text", "quotes"),
        (BOT | {"env": ["A=1"]}, "env", "is a table", "NAME"),
        (BOT | {"env": {"A B": "1"}}, "env", "no name of an environment variable", ""),
        (BOT | {"env": {"A": True}}, "env", "`A` is text", "quotes"),
        (BOT | {"env": {"CLUSTER_SECRET": "x"}}, "env", "never given to a workload", ""),
        (BOT | {"env": {f"A{n}": "" for n in range(VARIABLES_MAX + 1)}}, "env", "are more than", ""),
        (BOT | {"inherit": "PATH"}, "inherit", "a list of names is needed", ""),
        (BOT | {"inherit": ["NOTIFY_SOCKET"]}, "inherit", "never given to a workload", ""),
        (BOT | {"singleton": 0}, "singleton", "true or false", "singleton = true"),
        (BOT | {"stop_timeout": "1"}, "stop_timeout", "seconds are needed", "plain number"),
        (BOT | {"stop_timeout": True}, "stop_timeout", "seconds are needed", ""),
        (BOT | {"stop_timeout": -1}, "stop_timeout", "outside 0 to 300", ""),
        (BOT | {"stop_timeout": float("nan")}, "stop_timeout", "outside 0 to 300", ""),
        (BOT | {"stop_signal": "SIGKILL"}, "stop_signal", "no signal to stop by", "SIGTERM, SIGINT"),
        (BOT | {"stop_signal": 15}, "stop_signal", "is text", ""),
        (BOT | {"preferred": ["N1"]}, "preferred", "no node id", "`n1`"),
        (BOT | {"preferred": ["n1", "n1"]}, "preferred", "named twice", ""),
        (BOT | {"preferred": ["n1"] * (PREFERRED_MAX + 1)}, "preferred", "are more than", ""),
        (BOT | {"check": {"kind": "process"}}, "check", "checks are tables", "[[workload.main.check]]"),
        (BOT | {"check": [{"kind": "disk", "path": "/"}]}, "check", "no kind of check here", "`process`"),
        (BOT | {"check": [{"kind": "proces"}]}, "check", "no kind of check", "`process`"),
        (BOT | {"check": [{"kind": []}]}, "check", "no kind of check", "`process`"),
        (BOT | {"check": [{}]}, "check", "no kind of check", "`process`"),
        (BOT | {"check": [{"kind": "process", "url": "x"}]}, "check", "`url` is no key", ""),
        (BOT | {"check": [{"kind": "process"}] * (CHECKS_MAX + 1)}, "check", "are more than", ""),
        (BOT | {"comand": 1}, "comand", "no key of a workload", "did you mean `command`?"),
    ],
)
def test_what_a_workload_may_not_say(table: dict[str, Any], part: str, message: str, hint: str) -> None:
    specs, problems = read_workloads({"main": table}, {f"workload.main.{part}": "here:3"})
    assert specs == ()
    assert [item.key for item in problems] == [f"workload.main.{part}"]
    assert message in problems[0].message
    assert hint in problems[0].hint
    assert problems[0].origin == "here:3"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (1, "are tables"),
        ({"main": 1}, "is a table"),
        ({"a b": BOT}, "no name for a workload"),
        ({"x" * 256: BOT}, "no name for a workload"),
        ({f"w{n}": BOT for n in range(WORKLOADS_MAX + 1)}, "at the most"),
    ],
)
def test_what_workloads_may_not_be(raw: object, message: str) -> None:
    specs, problems = read_workloads(raw, {})
    assert specs == ()
    assert message in problems[0].message


def test_all_mistakes_of_a_workload_are_told_at_once_and_good_ones_stay() -> None:
    specs, problems = read_workloads({"bad": {"cwd": "x", "zzz": 1}, "good": BOT}, {})
    assert [spec.name for spec in specs] == ["good"]
    assert {item.key for item in problems} == {f"workload.bad.{part}" for part in ("cwd", "zzz", "command")}


@pytest.mark.parametrize(
    ("lease", "stop", "level", "message"),
    [
        (3, 3.5, "error", "more than the lease of 3 s"),
        (3, 1.0, "warning", "s pass between SIGTERM and SIGKILL"),
        (300, 100, "warning", "planned stops get all 100 s"),
    ],
)
def test_a_stop_timeout_is_part_of_the_lease(
    tmp_path: Path, lease: float, stop: float, level: str, message: str
) -> None:
    toml = f'FAILOVER_TIMEOUT = 3000\n[workload.main]\ncommand = ["x"]\nstop_timeout = {stop}'
    found = loaded(f"CLUSTER_LEASE_DURATION={lease}", toml=toml, folder=tmp_path)
    assert message in problem(found, "workload.main.stop_timeout", level).message


@pytest.mark.parametrize("stop", ["", "stop_timeout = 0.2", "stop_timeout = 0"])
def test_a_stop_timeout_that_fits_or_was_not_given_is_not_worth_a_word(tmp_path: Path, stop: str) -> None:
    found = loaded(toml=f'[workload.main]\ncommand = ["x"]\n{stop}', folder=tmp_path)
    assert [item for item in found.problems if "stop_timeout" in item.key] == []


def test_the_slowest_workload_sets_the_grace(tmp_path: Path) -> None:
    toml = '[workload.a]\ncommand = ["x"]\nstop_timeout = 0.1\n[workload.b]\ncommand = ["x"]\nstop_timeout = 0.3'
    assert settings(loaded(toml=toml, folder=tmp_path)).timing == Timing.derive(3.0, 0.3, 10.0)


def test_hooks_become_part_of_the_spec_in_the_order_in_which_they_run() -> None:
    hooks = {"post_stop": ["z"], "pre_start": ["a", "b"], "timeout": 2.5}
    (spec,), problems = read_workloads({"main": BOT | {"hooks": hooks}}, {})
    assert not problems
    assert spec.hooks == (("pre_start", ("a", "b")), ("post_stop", ("z",)))
    assert spec.hook_timeout_s == 2.5
    (plain,), _ = read_workloads({"main": BOT}, {})
    assert (plain.hooks, plain.hook_timeout_s) == ((), HOOK_TIMEOUT_S)


@pytest.mark.parametrize(
    ("hooks", "message", "hint"),
    [
        (["x"], "hooks are a table", "pre_start"),
        ({"pre_stat": ["x"]}, "`pre_stat` is no hook", "did you mean `pre_start`?"),
        ({"pre_start": "x y"}, "never one string", '["x", "y"]'),
        ({"pre_start": []}, "needs a program", ""),
        ({"timeout": 0}, "outside 0.1 to 300", ""),
    ],
)
def test_what_hooks_may_not_say(hooks: object, message: str, hint: str) -> None:
    specs, problems = read_workloads({"main": BOT | {"hooks": hooks}}, {})
    assert specs == ()
    assert [item.key for item in problems] == ["workload.main.hooks"]
    assert message in problems[0].message
    assert hint in problems[0].hint
