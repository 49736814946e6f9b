"""`mltbctl state`: what counts as a value, whose token it is, and what a reader hears beside the values."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from mltbctl.commands import state
from tests.mltbctl.fake_daemon import Refusal
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


@pytest.mark.parametrize(
    "command",
    [
        "lock acquire k", "lock list", "lock show k", "lock extend k id", "lock release k id",
        "state get k", "state list", "state cas k 0 1", "state set k 1", "state delete k",
        "state watch --after 0 --limit 1",
    ],
)  # fmt: skip
def test_verbose_names_the_daemon(store: FakeStore, capsys: Capture, command: str) -> None:
    store.set({"key": "other", "value": "1"})
    told = run_here(capsys, "-v", *command.split()).err
    assert told.count("asked ") == 1
    assert f"asked {store.daemons[0].path}" in told


def test_a_stale_list_says_how_old_it_is(store: FakeStore, capsys: Capture) -> None:
    store.set({"key": "k", "value": "1"})
    outcome = run_here(capsys, "state", "list", "--stale", "-o", "json")
    assert outcome.err == "as this node knew it 0.2s ago\n"
    told = json.loads(outcome.out)
    assert (told["stale"], told["age_seconds"]) == (True, 0.25)
    got = json.loads(run_here(capsys, "state", "get", "k", "--stale", "-o", "json").out)
    assert told["entries"] == [{name: got[name] for name in got if name != "schema"}]
    assert "stale" not in run_here(capsys, "state", "list", "-o", "json").out
    empty = run_here(capsys, "state", "list", "x", "--stale", "-o", "json")
    assert (json.loads(empty.out)["age_seconds"], empty.err) == (0.25, "as this node knew it 0.2s ago\n")


@pytest.mark.parametrize("output", ["plain", "table"])
def test_a_pipe_gets_the_whole_of_a_long_value(store: FakeStore, capsys: Capture, output: str) -> None:
    store.set({"key": "k", "value": json.dumps("x" * 1000)})
    assert run_here(capsys, "state", "list", "-o", output).out.split() == [
        "KEY",
        "VERSION",
        "VALUE",
        "k",
        "1",
        "x" * 1000,
    ]


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("command", ["state list", "state watch", "lock list"])
def test_one_prefix_is_meant(capsys: Capture, command: str) -> None:
    outcome = run_here(capsys, *command.split(), "a", "--prefix", "w/")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("error: PREFIX and `--prefix` are the same: give `a` or `w/`\n")


@pytest.mark.parametrize("typed", ["\udcff", '"\\ud800"'])
def test_what_is_no_text_is_no_value(store: FakeStore, capsys: Capture, typed: str) -> None:
    outcome = run_here(capsys, "state", "set", "k", typed)
    assert (outcome.code, store.entries) == (2, {})
    assert "codec" not in outcome.err
    assert "UTF-8" in outcome.err


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("words", ["state get \udcff", "state set \udcff 1", "lock acquire k --holder \udcff"])
def test_what_is_no_text_is_not_sent(capsys: Capture, words: str) -> None:
    outcome = run_here(capsys, *words.split())
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("error: what is not UTF-8 text cannot be sent\n")


def test_bytes_on_stdin_that_are_no_text(store: FakeStore, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe"), "utf-8"))
    outcome = run_here(capsys, "state", "set", "k", "-")
    assert (outcome.code, store.entries) == (2, {})
    assert outcome.err.startswith("error: the value on stdin is not UTF-8 text\n")


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A watch that wonders soon."""
    monkeypatch.setattr(state, "QUIET_S", 0.02)


@pytest.mark.usefixtures("patient")
def test_a_watch_says_once_why_nothing_comes(store: FakeStore, capsys: Capture) -> None:
    """Without a quorum no read is answered that could tell how far the changes are."""

    def unanswered(_: dict[str, Any]) -> dict[str, Any]:
        store.set({"key": "k", "value": "1"})  # Let it end, unexplained.
        raise Refusal(code="no_quorum", message="1 of 3 voters")

    store.quorate = False
    store.daemons[0].answers["state_list"] = unanswered
    real, asked = store.daemons[0].answers["is"], []

    def is_(params: dict[str, Any]) -> dict[str, Any]:
        asked.append(params)
        if len(asked) == 3:
            store.set({"key": "k", "value": "1"})
        return real(params)

    store.daemons[0].answers["is"] = is_
    outcome = run_here(capsys, "state", "watch", "--after", "0", "--limit", "1")
    assert (outcome.code, outcome.out) == (0, "1   k   1\n")
    assert outcome.err.count("there is no quorum, so nothing changes until there is one again") == 1


@pytest.mark.usefixtures("patient")
def test_a_watch_of_what_is_still_to_come(store: FakeStore, capsys: Capture) -> None:
    store.set({"key": "k", "value": "1"})
    real = store.daemons[0].answers["is"]

    def is_(params: dict[str, Any]) -> dict[str, Any]:
        store.set({"key": "k", "value": "1"})
        return real(params)

    store.daemons[0].answers["is"] = is_
    outcome = run_here(capsys, "state", "watch", "--after", "4", "--limit", "1")
    assert (outcome.code, outcome.out) == (0, "5   k   1\n")
    assert outcome.err == "revision 4 is still to come, it is 2 now: what changes until then is not shown\n"
