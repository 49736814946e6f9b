"""The configuration as a program: one JSON object on stdout, exit codes 0 and 2, no secret, no slow imports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mltbd.config.options import OPTIONS
from mltbd.config.presets import PRESETS
from mltbd.config.tool import SET, answer
from tests.daemon.config.machines import EMPTY_FILE, SECRET

ALONE = f"--config={EMPTY_FILE}"


def run(*argv: str, env: dict[str, str] | None = None) -> tuple[dict[str, Any], int]:
    """The tool as a process of its own, with this interpreter's import path."""
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)} | (env or {})
    done = subprocess.run(
        [sys.executable, "-m", "mltbd.config.tool", *argv],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1
    body = json.loads(done.stdout)
    assert isinstance(body, dict)
    return body, done.returncode


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_alone_is_valid(preset: str) -> None:
    body, code = run("validate", "--preset", preset, ALONE)
    assert code == 0
    assert body["valid"] is True
    assert body["preset"] == preset
    assert body["errors"] == []
    assert all(set(item) >= {"key", "message", "hint"} for item in body["warnings"])


def test_an_invalid_configuration_exits_2_and_names_the_place(tmp_path: Path) -> None:
    path = tmp_path / "mltb.toml"
    path.write_text("\nCLUSTER_PROT = 1\n", encoding="utf-8")
    body, code = run("validate", "--config", str(path), env={"HA_MIN_NODES": "0"})
    assert code == 2
    assert body["valid"] is False
    assert body["config"] == str(path)
    errors = {item["key"]: item for item in body["errors"]}
    assert errors["CLUSTER_PROT"]["origin"] == f"{path}:2"
    assert errors["CLUSTER_PROT"]["hint"] == "did you mean `CLUSTER_PORT`?"
    assert errors["HA_MIN_NODES"]["origin"] == "env HA_MIN_NODES"


def test_a_file_that_cannot_be_looked_at_is_invalid(tmp_path: Path) -> None:
    body, code = run("validate", "--config", str(tmp_path / ("a" * 300)))
    assert (code, body["config"]) == (2, None)
    assert "file name too long" in body["errors"][0]["message"]


def test_show_lists_what_was_given_and_effective_everything() -> None:
    given, code = answer(["show", ALONE, "--set", "CLUSTER_PORT=80", "--preset=development"], {})
    assert code == 0
    rows = {row["key"]: row for row in given["settings"]}
    assert set(rows) == {"CLUSTER_PORT", *PRESETS["development"].values}
    assert (rows["CLUSTER_PORT"]["value"], rows["CLUSTER_PORT"]["default"]) == (80, 7946)
    assert rows["CLUSTER_PORT"]["origin"] == "--set"
    assert rows["HEALTH_MONITOR_ENABLED"]["value"] is True
    everything, _ = answer(["show", "--effective", ALONE, "--preset=development"], {})
    rows = {row["key"]: row for row in everything["settings"]}
    assert set(rows) == set(OPTIONS)
    assert rows["HEALTH_MONITOR_ENABLED"]["value"] is True
    assert all(row["doc"] for row in rows.values())


def test_secrets_and_the_values_of_a_workloads_environment_are_never_shown(tmp_path: Path) -> None:
    path = tmp_path / "mltb.toml"
    path.write_text(
        f'CLUSTER_SECRET = "{SECRET}"\n[workload.main]\ncommand = ["x"]\nenv = {{ TOKEN = "12:AA" }}', encoding="utf-8"
    )
    for argv in (["show"], ["show", "--effective"], ["validate"]):
        body, code = answer([*argv, "--config", str(path), "--set", "CLUSTER_PORT=80"], {})
        assert code == 0
        assert SECRET not in json.dumps(body)
        assert "12:AA" not in json.dumps(body)
    shown, _ = answer(["show", "--config", str(path)], {})
    rows = {row["key"]: row["value"] for row in shown["settings"]}
    assert rows["CLUSTER_SECRET"] == SET
    assert rows["workload.main.env"] == {"TOKEN": SET}
    assert rows["workload.main.command"] == ["x"]
    wrong, _ = answer(["validate", ALONE], {"CLUSTER_SECRET": SECRET[:-1]})
    assert wrong["valid"] is False
    assert SECRET[:-1] not in json.dumps(wrong)


def test_the_numbers_of_a_check_are_shown_as_they_run_and_no_url(tmp_path: Path) -> None:
    path = tmp_path / "mltb.toml"
    path.write_text(
        """
HEALTH_CHECK_INTERVAL = 40
[workload.main]
command = ["x"]
[[workload.main.check]]
kind = "http"
url = "https://api.example/bot12:AA/getMe"
failures = 7
grace = 20
[[check]]
kind = "disk"
path = "/"
min_free_percent = 7
""",
        encoding="utf-8",
    )
    for argv in (["show"], ["show", "--effective"]):
        shown, _ = answer([*argv, "--config", str(path), "--set", "CLUSTER_ENABLED=1"], {})
        rows = {row["key"]: row["value"] for row in shown["settings"]}
        common = {"interval": 40.0, "timeout": 5.0, "successes": 1}
        http, disk = rows["workload.main.check.http"], rows["check.disk"]
        assert http == {"kind": "http", "failures": 7, "grace": 20.0, "status": 200} | common
        assert disk == {"kind": "disk", "failures": 3, "grace": 0.0, "min_free_percent": 7.0} | common
        assert "12:AA" not in json.dumps(shown)


def test_presets_say_what_they_set_and_lack() -> None:
    body, code = answer(["presets"], {})
    assert code == 0
    found = {preset["name"]: preset for preset in body["presets"]}
    assert list(found) == list(PRESETS)
    assert found["distributed"]["values"]["HA_MIN_NODES"] == 5
    assert "CLUSTER_PORT" not in found["distributed"]["values"]
    assert found["full_ha"]["values"]["DISTRIBUTED_LOCKS_ENABLED"] is True
    assert found["development"]["runs_without"] == []


def test_what_init_writes_validates(tmp_path: Path) -> None:
    body, code = run("init", "--preset", "full_ha")
    assert code == 0
    path = tmp_path / "mltb.toml"
    path.write_text(body["text"], encoding="utf-8")
    verdict, code = run("validate", "--config", str(path))
    assert (code, verdict["valid"], verdict["preset"]) == (0, True, "full_ha")


@pytest.mark.parametrize(
    ("argv", "message", "hint"),
    [
        ([], "a command is needed", "`validate`"),
        (["check"], "a command is needed", "`validate`"),
        (["validate", "--presets", "x"], "`--presets` is no option here", "did you mean `--preset`?"),
        (["validate", "--set"], "`--set` needs a value", ""),
        (["init"], "a preset is needed", "mltbctl config init"),
        (["init", "--preset", "fullha"], "`fullha` is no preset", "did you mean `full_ha`?"),
    ],
)
def test_wrong_arguments_are_told(argv: list[str], message: str, hint: str) -> None:
    body, code = answer(argv, {})
    assert code == 2
    assert body["error"]["code"] == "usage"
    assert message in body["error"]["message"]
    assert hint in body["error"]["hint"]


def test_nothing_slow_is_imported() -> None:
    check = (
        "import sys, json, mltbd.config.tool as t; t.answer(['validate', '--preset', 'full_ha'], {});"
        "print(json.dumps(sorted({'zmq', 'typer', 'asyncio', 'rich', 'msgpack', 'logging'} & set(sys.modules))))"
    )
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", check], env=environ, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
