"""`mltbctl config`: the data, the exit codes and the plain text of each sub-command, through the real tool."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from mltb_transport.keys import new_secret
from mltbctl.commands import config
from mltbctl.errors import CliError
from mltbctl.render import text_of
from mltbctl.result import ExitCode, Result, Style

EMPTY_FILE = "/dev/null"
PLAIN, COLOURED = Style(colour=False), Style(colour=True)
OURS = ("CLUSTER_", "FAILOVER_", "REPLICATION_", "DISTRIBUTED_", "HEALTH_", "HA_", "SPLIT_BRAIN_", "MLTB_")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(OURS):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))


def painted(result: Result, style: Style = PLAIN) -> str:
    assert not isinstance(result.text, str)
    return result.text(style)


def test_validate_says_valid_with_warnings_and_their_remedies() -> None:
    result = config.validate("simple_failover", EMPTY_FILE)
    assert result.exit_code == ExitCode.DONE
    assert (result.data["valid"], result.data["preset"], result.data["errors"]) == (True, "simple_failover", [])
    text = painted(result)
    assert "warning: HA_MIN_NODES: two nodes cannot both be safe and available" in text
    assert "  origin: preset simple_failover\n" in text
    assert "  hint: add a third machine with CLUSTER_ROLE=witness" in text
    assert text.splitlines()[-1] == "valid: 3 warnings (preset simple_failover)"
    assert "\x1b[" in painted(result, COLOURED)
    assert "\x1b[" not in text


def test_validate_says_where_and_what_and_exits_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mltb.toml"
    path.write_text("CLUSTER_PROT = 1\n", encoding="utf-8")
    monkeypatch.setenv("FAILOVER_ENABLED", "maybe")
    result = config.validate(config=path, sets=["HA_MIN_NODES=0"])
    assert result.exit_code == ExitCode.USAGE
    assert {item["key"] for item in result.data["errors"]} == {"CLUSTER_PROT", "FAILOVER_ENABLED", "HA_MIN_NODES"}
    lines = painted(result).splitlines()
    assert lines[:4] == [
        "error: CLUSTER_PROT: `CLUSTER_PROT` is no option",
        f"  origin: {path}:1",
        "  hint: did you mean `CLUSTER_PORT`?",
        "",
    ]
    assert lines[-1] == f"invalid: 3 errors ({path})"


def test_show_with_origins() -> None:
    result = config.show("full_ha", EMPTY_FILE, ["CLUSTER_PORT=8000"], effective=True, origin=True)
    assert result.exit_code == ExitCode.DONE
    assert result.rows == "settings"
    rows = {line.split()[0]: line.split("=", 1)[1].strip() for line in painted(result).splitlines()}
    assert rows["CLUSTER_PORT"].split() == ["8000", "--set"]
    assert rows["HA_MIN_NODES"].split(maxsplit=1) == ["3", "preset full_ha"]
    assert rows["CLUSTER_LEASE_DURATION"].split(maxsplit=1) == ["3", "derived from CLUSTER_NODE_TIMEOUT"]
    assert rows["CLUSTER_SEED_NODES"].split() == ["[]", "default"]


def test_show_hides_the_secret_and_without_origin_the_origins(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = new_secret()
    monkeypatch.setenv("CLUSTER_SECRET", secret)
    result = config.show(config=EMPTY_FILE)
    assert painted(result) == "CLUSTER_SECRET = (set)"
    assert secret not in str(result.data)


def test_show_of_nothing_and_of_something_invalid() -> None:
    assert "nothing is set" in painted(config.show(config=EMPTY_FILE))
    result = config.show(config=EMPTY_FILE, sets=["CLUSTER_PORT=x", "CLUSTER_NAME=lab"])
    assert result.exit_code == ExitCode.USAGE
    assert "CLUSTER_NAME = lab" in painted(result)
    assert "error: CLUSTER_PORT: `x` is not a whole number" in painted(result)


def test_presets_are_listed_with_their_values() -> None:
    result = config.presets()
    paragraphs = painted(result).split("\n\n")
    assert [paragraph.split(" ")[0] for paragraph in paragraphs] == [item["name"] for item in result.data["presets"]]
    assert paragraphs[0].startswith("development (1 node): ")
    assert "  HA_MIN_NODES = 5" in paragraphs[3]
    assert "not in this version: " in paragraphs[2]
    narrow = text_of(result, "table", Style(width=60))
    assert max(map(len, narrow.splitlines())) <= 60


def test_init_writes_a_file_that_validates(tmp_path: Path) -> None:
    result = config.init("distributed")
    path = tmp_path / "mltb.toml"
    path.write_text(str(result.text), encoding="utf-8")
    verdict = config.validate(config=path)
    assert (verdict.exit_code, verdict.data["preset"]) == (ExitCode.DONE, "distributed")


@pytest.mark.parametrize(("preset", "hint"), [("", "--preset simple_failover"), ("fullha", "did you mean `full_ha`?")])
def test_init_needs_a_preset_that_exists(preset: str, hint: str) -> None:
    with pytest.raises(CliError) as caught:
        config.init(preset)
    assert caught.value.exit_code == ExitCode.USAGE
    assert hint in caught.value.hint


def test_a_tool_that_is_not_there_is_told_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "TOOL", "mltbd.config.absent")
    with pytest.raises(CliError, match="gave no answer") as caught:
        config.presets()
    assert "Traceback" not in caught.value.message
    with pytest.raises(CliError, match="zero byte"):
        config.validate("a\0b")


def test_a_folder_with_our_names_in_it_is_no_trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mltbd.py").write_text("raise SystemExit(9)", encoding="utf-8")
    (tmp_path / "json.py").write_text("raise SystemExit(9)", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert config.presets().exit_code == ExitCode.DONE
