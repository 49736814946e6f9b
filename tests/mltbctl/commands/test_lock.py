"""`mltbctl lock`: what is refused before anything is asked, and the words of those who get no lock."""

from __future__ import annotations

from typing import Any

import pytest

from tests.mltbctl.fake_daemon import Refusal
from tests.mltbctl.fake_store import FakeStore
from tests.mltbctl.terminal import run_here

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize("command", ["acquire", "run"])
@pytest.mark.parametrize(
    ("option", "value"),
    [("ttl", word) for word in ("nan", "inf", "-1", "0", "0.09", "86401")]
    + [(option, word) for option in ("wait", "delay") for word in ("nan", "inf", "-1", "3601", "1e7", "1e9")],
)
def test_times_that_cannot_be_meant(store: FakeStore, capsys: Capture, command: str, option: str, value: str) -> None:
    what = ("--", "true") if command == "run" else ()
    outcome = run_here(capsys, "lock", command, "k", f"--{option}", value, *what)
    low = {"wait": "0", "delay": "0"}.get(option, "1" if command == "run" else "0.1")
    high = "86400" if option == "ttl" else "3600"
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"error: `--{option} {float(value):g}`: seconds from {low} to {high} are needed\n")
    assert outcome.err.endswith(f"hint: run `mltbctl lock {command} --help`\n")
    assert store.daemons[0].calls == []


def test_an_extension_has_the_same_range(store: FakeStore, capsys: Capture) -> None:
    assert run_here(capsys, "lock", "extend", "k", "id", "--ttl", "nan").code == 2
    assert store.daemons[0].calls == []


@pytest.mark.parametrize(
    ("command", "method"),
    [
        ("lock acquire k", "lock_acquire"), ("lock extend k id", "lock_extend"), ("lock release k id", "lock_release"),
        ("lock list k", "lock_list"), ("lock show k", "lock_show"), ("state set k 1", "state_set"),
        ("state get k", "state_get"), ("state delete k", "state_delete"), ("state list k", "state_list"),
    ],
)  # fmt: skip
def test_the_hint_is_about_what_was_typed(store: FakeStore, capsys: Capture, command: str, method: str) -> None:
    typed = " ".join(command.split()[:2])

    def refused(params: dict[str, Any]) -> dict[str, Any]:
        packed = "client" in params or method == "state_get"
        message = "that is no name" if packed else f"`{method}`: that is no name"
        raise Refusal(code="usage", message=message, hint=f"mltbctl {typed} --help")

    store.daemons[0].answers[method] = refused
    outcome = run_here(capsys, *command.split())
    assert outcome.code == 2
    assert outcome.err == f"error: that is no name\n\nhint: mltbctl {typed} --help\n"


@pytest.mark.parametrize("command", [("acquire", "k"), ("run", "k", "--", "true")])
def test_a_lock_that_a_delay_keeps_closed(store: FakeStore, capsys: Capture, command: tuple[str, ...]) -> None:
    store.daemons[0].answers["lock_acquire"] = lambda _: {"acquired": False, "holder": None}
    outcome = run_here(capsys, "lock", *command)
    assert outcome.code == 1
    assert "nobody holds it, but after it ran out its delay may keep it closed\n" in outcome.err
    assert outcome.err.endswith("hint: run `mltbctl lock show k`, or wait longer\n")
