"""`mltbctl state`: what counts as a value, whose token it is, and what a reader hears beside the values."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.mltbctl.fake_store import FakeStore
from tests.mltbctl.terminal import run_here

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize(("typed", "meant"), [("-5", -5), ("-0.5", -0.5), ("-1e3", -1000.0), ("-0", 0)])
def test_a_negative_number_is_a_value(store: FakeStore, capsys: Capture, typed: str, meant: Any) -> None:
    assert run_here(capsys, "state", "set", "k", typed, "--if-version", "0").code == 0
    assert json.loads(store.entries["k"]["value"]) == meant
    assert run_here(capsys, "-q", "state", "cas", "-qo", "json", "k", "1", typed).code == 0
    assert json.loads(store.entries["k"]["value"]) == meant
    assert run_here(capsys, "state", "set", "k", "--", typed).code == 0


@pytest.mark.parametrize("words", [("k", "-x"), ("k", "-5x"), ("k", "1", "--lokc"), ("-05", "1"), ("k", "1", "-.5")])
def test_a_mistyped_option_is_no_value(store: FakeStore, capsys: Capture, words: tuple[str, ...]) -> None:
    outcome = run_here(capsys, "state", "set", *words)
    assert outcome.code == 2
    assert outcome.err.startswith("error: no such option `-")
    assert store.entries == {}


def test_a_version_is_not_below_0(store: FakeStore, capsys: Capture) -> None:
    outcome = run_here(capsys, "state", "cas", "k", "-1", "-5")
    assert (outcome.code, store.entries) == (2, {})
    assert "-1 is not in the range" in outcome.err


@pytest.mark.parametrize("command", ["set k 1", "cas k 0 1", "delete k"])
def test_a_token_alone_is_of_the_lock_that_has_it(store: FakeStore, capsys: Capture, command: str) -> None:
    for number, name in enumerate("ab", 1):
        store.acquire({"client": name, "seq": 1, "name": name, "ttl": 100, "wait": 0, "holder": "h"})
        assert store.lines[name][0].token == number
    run_here(capsys, "state", *command.split(), "--token", "2")
    assert store.daemons[0].calls[-1][1]["token"] == {"lock": "b", "token": 2}
    outcome = run_here(capsys, "state", *command.split(), "--token", "3")
    assert outcome.code == 5
    assert outcome.err.startswith("error: no lock is held with token 3\n")
    assert store.daemons[0].calls[-1][0] == "lock_list"
