"""A bundle holds what helps, hides what is secret, overwrites nothing and lives with missing parts."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mltb_transport.access import access_key
from mltb_transport.invitation import Invitation, token_of
from mltb_transport.keys import Keyring, new_secret
from mltbctl.commands.bundle import HIDDEN, scrub
from tests.mltbctl import pictures, surveys
from tests.mltbctl.fake_daemon import FakeDaemon, Refusal
from tests.mltbctl.terminal import run_here

Serve = Callable[..., FakeDaemon]
SECRET = new_secret()
JOIN_TOKEN = token_of(Invitation("lab", ("10.0.0.1:7946",), SECRET))
BOT_TOKEN = "1234567890:AAH-abcdefghijklmnopqrstuvwxyz0123456"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (f"a {SECRET} b", f"a {HIDDEN} b"),
        (access_key(Keyring.from_secret(SECRET), "viewer"), HIDDEN),
        (f'"{BOT_TOKEN}"', f'"{HIDDEN}"'),
        ("mongodb://user:pass@db/x", f"mongodb://{HIDDEN}@db/x"),
        ("bot --token=abc --port=1", f"bot --token={HIDDEN} --port=1"),
        ("redis://:hunter2@10.0.0.5:6379/0", f"redis://{HIDDEN}@10.0.0.5:6379/0"),
        ("https://t0ken@host/a@b", f"https://{HIDDEN}@b"),
        ("postgres://u:p@ss@db/x", f"postgres://{HIDDEN}@db/x"),
        (f"typed: mltbctl join {JOIN_TOKEN}!", f"typed: mltbctl join {HIDDEN}!"),
        ("bot --token s3cr3t-a --port 1", f"bot --token {HIDDEN} --port 1"),
        ("bot --db-password=a b", f"bot --db-password={HIDDEN} b"),
        ("curl: Authorization: Bearer a.b.c", f"curl: Authorization: Bearer {HIDDEN}"),
        ("postgres://bot:pa/ss@db/x", f"postgres://{HIDDEN}@db/x"),
        ("login failed for password: hunter2", f"login failed for password: {HIDDEN}"),
        ('{"password": "hunter2", "token":"t0psecret"}', f'{{"password": "{HIDDEN}", "token":"{HIDDEN}"}}'),
        (r"{\"password\": \"hunter2\"}", rf'{{\"password\": \"{HIDDEN}"}}'),
        ("password='two words' x", f"password='{HIDDEN}' x"),
        ("x-api-key: abc", f"x-api-key: {HIDDEN}"),
        ("TOKEN = abcdef", f"TOKEN = {HIDDEN}"),
        ("?access_token=abc&x=1", f"?access_token={HIDDEN}&x=1"),
        ("-H 'Authorization: Basic dXNlcjpwYXNz' x", f"-H 'Authorization: Basic {HIDDEN}' x"),
        ("Authorization: s3cr3t", f"Authorization: {HIDDEN}"),
        ("bot -pass hunter2", f"bot -pass {HIDDEN}"),
        ("the key of 3 connections; token 7; `mltbctl secret rotate --dry-run`",) * 2,
        ("n1:7946 10.0.0.1:7947", "n1:7946 10.0.0.1:7947"),
    ],
)
def test_scrub(text: str, clean: str) -> None:
    assert scrub(text) == clean


def contents(path: Path) -> dict[str, Any]:
    with tarfile.open(path) as archive:
        found = {}
        for member in archive.getmembers():
            file = archive.extractfile(member)
            assert file is not None
            found[member.name.partition("/")[2]] = json.loads(file.read())
        return found


def test_what_is_in_it(
    runtime: Path, serve: Serve, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = runtime / "mltb.toml"
    config.write_text(
        f'''CLUSTER_SECRET = "{SECRET}"
[workload.main]
command = ["bot", "{BOT_TOKEN}", "--pin", "s3cr3t-1"]
hooks = {{ pre_start = ["sh", "-c", "login s3cr3t-2"], timeout = 3 }}
env = {{ PIN = "s3cr3t-3" }}
[[workload.main.check]]
kind = "command"
command = ["look", "s3cr3t-4"]
'''
    )
    config.chmod(0o600)
    monkeypatch.setenv("MLTB_CONFIG", str(config))

    def broken(_: dict[str, Any]) -> dict[str, Any]:
        raise Refusal(message=f"no, {SECRET}")

    serve(status=lambda _: pictures.healthy(), survey=lambda _: surveys.healthy(), events=broken)
    path = runtime / "b.tar.gz"
    done = run_here(capsys, "bundle", "--file", str(path), "-o", "json")
    assert done.code == 0
    assert json.loads(done.out)["missing"] == ["events.json"]
    assert path.stat().st_mode & 0o777 == 0o600
    found = contents(path)
    assert set(found) == {"about.json", "status.json", "doctor.json", "survey.json", "events.json", "config.json"}
    assert found["status.json"] == pictures.healthy()
    assert found["doctor.json"]["healthy"] is True
    assert found["events.json"] == {"missing": f"no, {HIDDEN}"}
    assert SECRET not in json.dumps(found)
    assert BOT_TOKEN not in json.dumps(found)
    assert "s3cr3t" not in json.dumps(found)
    told = {row["key"]: row["value"] for row in found["config.json"]["settings"]}
    assert told["workload.main.command"] == ["bot", HIDDEN, HIDDEN, HIDDEN]
    assert told["workload.main.hooks"] == {"pre_start": ["sh", HIDDEN, HIDDEN], "timeout": 3.0}
    assert "CLUSTER_LEASE_DURATION" in json.dumps(found["config.json"])
    again = run_here(capsys, "bundle", "--file", str(path))
    assert again.code == 1
    assert "it stays as it is" in again.err


@pytest.mark.parametrize(
    "wrong",
    ['command = "bot s3cr3t"', 'command = ["bot"]\nenv = { PIN = ["s3cr3t"] }', 'command = ["bot"]\ncwd = ["s3cr3t"]'],
)
def test_what_is_wrong_is_told_without_what_was_written(
    runtime: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    config = runtime / "mltb.toml"
    config.write_text(f"[workload.main]\n{wrong}\n")
    monkeypatch.setenv("MLTB_CONFIG", str(config))
    assert run_here(capsys, "bundle", "--file", str(runtime / "b.tar.gz")).code == 0
    told = contents(runtime / "b.tar.gz")["config.json"]
    assert told["errors"][0]["key"].startswith("workload.main")
    assert "s3cr3t" not in json.dumps(told)


def test_without_a_daemon_there_is_still_something(runtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = run_here(capsys, "bundle", "--file", str(runtime / "b.tar.gz"))
    assert done.code == 0
    found = contents(runtime / "b.tar.gz")
    assert "missing" in found["status.json"]
    assert found["about.json"]["platform"]
