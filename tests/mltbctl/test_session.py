"""What a command line asks for when it is too broken to parse, and the limits of the global options."""

from __future__ import annotations

import pytest

from mltbctl.errors import CliError
from mltbctl.session import Session, json_asked
from mltbctl.settings import TIMEOUT_S_MAX, Settings


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("status -o json", "json"), ("-o jsonl status --bar", "jsonl"), ("status --output=json", "json"),
        ("status --output json", "json"), ("status -ojson", "json"), ("status -o plain", ""), ("status -o", ""),
        ("", ""), ("--output=yaml", ""),
    ],
)  # fmt: skip
def test_json_asked(line: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLTBCTL_OUTPUT", raising=False)
    assert json_asked(line.split()) == expected


def test_json_asked_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLTBCTL_OUTPUT", "json")
    assert json_asked(["status"]) == "json"
    monkeypatch.setenv("MLTBCTL_OUTPUT", "table")
    assert json_asked(["status"]) == ""


@pytest.mark.parametrize("seconds", [0.0, -1.0, TIMEOUT_S_MAX + 1, float("nan"), float("inf")])
def test_timeout_has_limits(seconds: float) -> None:
    with pytest.raises(CliError) as caught:
        Session(Settings(timeout_s=seconds))
    assert caught.value.code == "usage"


def test_quiet_silences_talk_and_told_failures(capsys: pytest.CaptureFixture[str]) -> None:
    Session(Settings(quiet=True)).say("hello")
    assert capsys.readouterr().err == ""
    Session(Settings()).say("hello")
    assert capsys.readouterr().err == "hello\n"
    with pytest.raises(CliError), Session(Settings()).silenced_if_quiet():
        raise CliError("no")
