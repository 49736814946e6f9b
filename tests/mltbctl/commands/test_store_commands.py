"""`mltbctl lock` and `mltbctl state` as a user meets them: stdout, stderr and exit code of each, whole."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mltbctl.commands.state import value_of
from mltbctl.locks import HeldLock
from tests.mltbctl import fake_store, golden, pictures
from tests.mltbctl.fake_daemon import Later, Refusal
from tests.mltbctl.fake_store import FakeStore
from tests.mltbctl.terminal import Terminal, environment, run_here, run_process

Capture = pytest.CaptureFixture[str]
COMMANDS: dict[str, str] = {
    "lock-acquire": "lock acquire spare --ttl 30 --holder me@here",
    "lock-acquire-json": "lock acquire spare --ttl 30 --holder me@here -o json",
    "lock-acquire-held": "lock acquire backup --wait 0.05",
    "lock-acquire-held-json": "lock acquire backup -o json",
    "lock-acquire-bad-ttl": "lock acquire spare --ttl 0",
    "lock-release": "lock release backup backup-1",
    "lock-release-json": "lock release backup backup-1 -o json",
    "lock-release-not-held": "lock release backup other",
    "lock-extend": "lock extend backup backup-1 --ttl 7200",
    "lock-extend-json": "lock extend backup backup-1 -o json",
    "lock-extend-not-held": "lock extend backup other -o json",
    "lock-show": "lock show backup",
    "lock-show-json": "lock show backup -o json",
    "lock-show-free": "lock show spare",
    "lock-show-free-json": "lock show spare -o json",
    "lock-list": "lock list",
    "lock-list-json": "lock list -o json",
    "lock-list-jsonl": "lock list -o jsonl",
    "lock-list-prefix": "lock list --prefix de",
    "lock-show-stale": "lock show backup --stale",
    "lock-show-stale-free": "lock show spare --stale",
    "lock-list-stale": "lock list --stale",
    "lock-list-stale-json": "lock list de --stale -o json",
    "lock-list-stale-none": "lock list x --stale",
    "lock-list-stale-none-json": "lock list x --stale -o json",
    "lock-run-no-command": "lock run backup",
    "lock-run-short-ttl": "lock run spare --ttl 0.2 -- true",
    "lock-no-such-command": "lock aquire x",
    "state-get": "state get jobs/a",
    "state-get-text": "state get motd",
    "state-get-json": "state get jobs/a -o json",
    "state-get-stale": "state get motd --stale",
    "state-get-stale-json": "state get motd --stale -o json",
    "state-get-absent": "state get nothing",
    "state-get-absent-json": "state get nothing -o json",
    "state-set": "state set jobs/c 7",
    "state-set-json": "state set jobs/c 7 -o json",
    "state-set-if-version": "state set motd hi --if-version 1",
    "state-set-conflict": "state set motd hi --if-version 3",
    "state-set-conflict-json": "state set motd hi --if-version 3 -o json",
    "state-set-exists-json": "state set nothing hi --if-version 3 -o json",
    "state-set-token": "state set motd hi --token 1 --lock backup",
    "state-set-token-old": "state set motd hi --token 7 --lock backup",
    "state-set-token-alone": "state set motd hi --token 1",
    "state-set-token-of-none": "state set motd hi --token 7",
    "state-cas": "state cas motd 1 hi",
    "state-cas-conflict": "state cas motd 0 hi",
    "state-cas-absent": "state cas nothing 1 hi",
    "state-delete": "state delete motd",
    "state-delete-absent": "state delete nothing",
    "state-delete-conflict": "state delete motd --if-version 9",
    "state-list": "state list",
    "state-list-json": "state list jobs/ -o json",
    "state-list-jsonl": "state list --prefix jobs/ --limit 1 -o jsonl",
    "state-list-stale": "state list jobs/ --stale",
    "state-list-empty": "state list nothing",
    "state-watch": "state watch --after 0 --limit 5",
    "state-watch-jsonl": "state watch jobs/ --after 0 --limit 2 -o jsonl",
    "state-watch-compacted": "state watch --after 0 --limit 5 -q",
    "lock-help": "lock",
    "state-help": "state",
}


@pytest.fixture
def furnished(store: FakeStore, monkeypatch: pytest.MonkeyPatch) -> FakeStore:
    """Two locks, one with a waiter, and four keys."""
    monkeypatch.setattr(fake_store, "SINCE", pictures.instant(4230 - (time.time() - pictures.NOW)))
    for holder, name in (("cron@n1:811", "backup"), ("deploy@n2:90", "deploy")):
        store.acquire({"client": name, "seq": 1, "name": name, "ttl": 5000, "wait": 0, "holder": holder})
    waiter = {"client": "w", "seq": 1, "name": "backup", "ttl": 30, "wait": 600, "holder": "late@n3"}
    with pytest.raises(Later):
        store.acquire(waiter)
    for key, value in (("jobs/a", '{"left": 3}'), ("jobs/b", "[1,2]"), ("motd", '"good morning"'), ("odd", '"a\\nb"')):
        store.set({"key": key, "value": value})
    store.delete({"key": "odd"})
    return store


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_command(name: str, furnished: FakeStore, capsys: Capture) -> None:
    if name.endswith("compacted"):
        furnished.compacted_below = 3
    outcome = run_here(capsys, *COMMANDS[name].split())
    text = golden.transcript(f"mltbctl {COMMANDS[name]}", outcome.code, outcome.out, outcome.err)
    golden.check(f"cli-{name}", text)


@pytest.mark.usefixtures("store")
def test_what_others_rely_on(capsys: Capture) -> None:
    """The shapes of the contract, key by key."""

    def asked(*words: str) -> tuple[int, dict[str, Any]]:
        outcome = run_here(capsys, *words, "-o", "json")
        return outcome.code, json.loads(outcome.out)

    code, got = asked("lock", "acquire", "a", "--ttl", "30", "--holder", "h")
    assert code == 0
    assert got == {
        "schema": 1, "acquired": True, "name": "a", "lock_id": got["lock_id"], "token": 1, "ttl_seconds": 30,
        "holder": "h",
    }  # fmt: skip
    assert asked("lock", "acquire", "a") == (1, {"schema": 1, "acquired": False, "name": "a", "holder": "h"})
    assert asked("lock", "release", "a", got["lock_id"])[0] == 0
    assert asked("lock", "release", "a", got["lock_id"])[0] == 1
    assert asked("state", "set", "k", '{"a": 1}') == (0, {"schema": 1, "key": "k", "version": 1, "revision": 2})
    assert asked("state", "get", "k") == (
        0,
        {"schema": 1, "key": "k", "value": {"a": 1}, "version": 1, "revision": 2},
    )
    assert asked("state", "get", "none")[0] == 1


def test_ids_and_names_may_come_from_the_environment(furnished: FakeStore, capsys: Capture, monkeypatch: Any) -> None:
    monkeypatch.setenv("MLTB_LOCK_NAME", "backup")
    assert run_here(capsys, "state", "set", "k", "1", "--token", "1").code == 0
    assert furnished.daemons[0].calls[-1][1]["token"] == {"lock": "backup", "token": 1}
    assert run_here(capsys, "state", "set", "k", "1").code == 0
    assert "token" not in furnished.daemons[0].calls[-1][1], "only where it is asked for"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("7", 7), ("7 apples", "7 apples"), ('"7"', "7"), ("null", None), ("NaN", "NaN"), ("[1, {}]", [1, {}]),
        ("{broken", "{broken"), ("", ""), ("true", True), ("True", "True"), ("1e400", "1e400"), ("1.5", 1.5),
    ],
)  # fmt: skip
def test_a_value_is_json_where_it_parses(typed: str, meant: Any) -> None:
    assert value_of(typed) == meant


def test_a_value_from_stdin(store: FakeStore, capsys: Capture, monkeypatch: Any) -> None:
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO('{"from": "stdin"}\n'))
    assert run_here(capsys, "state", "set", "k", "-").code == 0
    assert json.loads(store.entries["k"]["value"]) == {"from": "stdin"}


def test_a_watch_survives_a_daemon_that_is_away(furnished: FakeStore, capsys: Capture, monkeypatch: Any) -> None:
    from mltbctl import store_client
    from mltbctl.commands import state

    monkeypatch.setattr(state, "RETRY_S", 0.01)
    monkeypatch.setattr(store_client, "POLL_S", 0.01)
    real, left = furnished.daemons[0].answers["state_watch"], [1]

    def once_away(params: dict[str, Any]) -> dict[str, Any]:
        if left and left.pop():
            raise Refusal(code="unavailable", message="the daemon stops")
        return real(params)

    furnished.daemons[0].answers["state_watch"] = once_away
    outcome = run_here(capsys, "--timeout", "0.01", "state", "watch", "jobs/", "--after", "0", "--limit", "1")
    assert outcome.code == 0
    assert "jobs/a" in outcome.out
    assert "error: the daemon stops" in outcome.err


@pytest.mark.usefixtures("furnished")
def test_ctrl_c_ends_a_watch(runtime: Any) -> None:
    environ = environment(MLTB_RUNTIME_DIR=str(runtime))
    with Terminal("state", "watch", "--after", "0", environ=environ) as terminal:
        terminal.wait_for("jobs/b")
        terminal.type("\x03")
        assert terminal.end() == 130
        assert "Traceback" not in terminal.text


@pytest.fixture
def completing(furnished: FakeStore, runtime: Path) -> Callable[..., list[str]]:  # noqa: ARG001
    def offers(line: str, **changes: str) -> list[str]:
        asked = {"_MLTBCTL_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
        return run_process(environ=environment(MLTB_RUNTIME_DIR=str(runtime), **asked, **changes)).out.split()

    return offers


def test_locks_and_keys_are_completed(completing: Callable[..., list[str]]) -> None:
    assert completing("mltbctl lock show ") == ["backup", "deploy"]
    assert completing("mltbctl lock run d") == ["deploy"]
    assert completing("mltbctl state get jobs/") == ["jobs/a", "jobs/b"]
    assert completing("mltbctl state get x") == []


@pytest.mark.parametrize("option", ["", "--prefix "])
def test_prefixes_are_completed(completing: Callable[..., list[str]], option: str) -> None:
    assert completing(f"mltbctl state list {option}jobs") == ["jobs/a", "jobs/b"]
    assert completing(f"mltbctl state watch {option}jobs") == ["jobs/a", "jobs/b"]
    assert completing(f"mltbctl lock list {option}d") == ["deploy"]


def test_the_daemon_that_the_line_names_is_asked(completing: Callable[..., list[str]], runtime: Path) -> None:
    elsewhere = {"MLTB_NODE": str(runtime / "nobody.sock")}
    socket = runtime / "mltb" / "n2.sock"
    assert completing("mltbctl state get jobs/", **elsewhere) == []
    assert completing(f"mltbctl -n {socket} state get jobs/", **elsewhere) == ["jobs/a", "jobs/b"]
    assert completing(f"mltbctl --node {socket} lock run d", **elsewhere) == ["deploy"]


def test_topics_of_help_are_completed(completing: Callable[..., list[str]]) -> None:
    assert completing("mltbctl help e") == ["events", "explain", "exit-codes"]
    assert completing("mltbctl help lock a") == ["acquire"]
    assert completing("mltbctl help status ") == []


def test_a_grant_known_by_its_id_claims_nothing() -> None:
    from mltbctl.commands.lock import _named

    named = _named("k", "id")
    assert isinstance(named, HeldLock)
    assert named.remaining() == 0
