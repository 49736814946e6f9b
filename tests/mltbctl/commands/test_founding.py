"""The files of a founder and of a node that joins: what is in them, and that nothing of anybody is written over."""

from __future__ import annotations

import errno
import json
import os
import stat
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mltb_transport.invitation import invitation_of
from mltb_transport.keys import new_secret, read_secrets
from mltb_transport.places import FOUNDER
from mltbctl.commands.founding import _Written, effective
from mltbctl.errors import CliError
from mltbd.core.founding import Founder
from mltbd.runtime import founding_mark
from tests.mltbctl.fake_daemon import FakeDaemon
from tests.mltbctl.terminal import Outcome, run_here

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("MLTB_CONFIG", "MLTB_STATE_DIR", "CLUSTER_SECRET", "CLUSTER_SECRET_FILE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def founded(capsys: Capture, here: Path, *more: str) -> Outcome:
    place = ("--config", str(here / "n1.toml"), "--state-dir", str(here / "n1"), "--node-id", "n1")
    return run_here(capsys, "init", "--name", "homelab", "--address", "127.0.0.1", *place, *more)


def told(outcome: Outcome) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(outcome.out)
    return found


def test_init_writes_what_a_founder_needs(capsys: Capture, here: Path) -> None:
    outcome = founded(capsys, here)
    assert (outcome.code, outcome.out.split()[:2]) == (0, ["mltbctl", "join"])
    assert f"`mltbd run --config {here / 'n1.toml'} --state-dir {here / 'n1'}`" in outcome.err
    config = tomllib.loads((here / "n1.toml").read_text())
    secret = here / "n1.secret"
    assert (config["CLUSTER_NODE_ID"], config["CLUSTER_NAME"]) == ("n1", "homelab")
    assert config["CLUSTER_SECRET_FILE"] == str(secret)
    assert config["CLUSTER_BOOTSTRAP"] is False  # A wiped founder must not found again.
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert stat.S_IMODE((here / "n1").stat().st_mode) == 0o700
    invitation = invitation_of(outcome.out.split()[2])
    assert (invitation.name, invitation.seeds) == ("homelab", ("127.0.0.1:7946",))
    assert invitation.secret == read_secrets(secret).used


def test_the_daemon_reads_the_mark_once(capsys: Capture, here: Path) -> None:
    founded(capsys, here)
    plain = Founder(designated=False, min_nodes=2, expected=3)
    assert founding_mark.marked(here / "n1", plain, begun=False) == Founder(designated=True, min_nodes=1, expected=1)
    assert founding_mark.marked(here / "n1", plain, begun=True) == plain
    assert not (here / "n1" / FOUNDER).exists()
    assert founding_mark.marked(here / "n1", plain, begun=False) == plain


def test_join_writes_what_the_line_says(capsys: Capture, here: Path) -> None:
    line = founded(capsys, here).out.split()
    outcome = run_here(
        capsys, *line[1:], "--config", str(here / "n2.toml"), "--node-id", "n2", "--address", "127.0.0.1",
        "--port", "7950", "--role", "witness", "-o", "json",
    )  # fmt: skip
    assert outcome.code == 0
    assert (told(outcome)["node"], told(outcome)["seeds"]) == ("n2", ["127.0.0.1:7946"])
    config = tomllib.loads((here / "n2.toml").read_text())
    assert (config["CLUSTER_SEED_NODES"], config["CLUSTER_PORT"]) == (["127.0.0.1:7946"], 7950)
    assert (config["CLUSTER_ROLE"], config["CLUSTER_NAME"]) == ("witness", "homelab")
    assert read_secrets(here / "n2.secret") == read_secrets(here / "n1.secret")
    assert stat.S_IMODE((here / "n2.secret").stat().st_mode) == 0o600


def test_what_they_write_is_valid_without_a_word(capsys: Capture, here: Path) -> None:
    line = founded(capsys, here).out.split()
    for name in ("n2", "n3"):
        own = ("--config", str(here / f"{name}.toml"), "--node-id", name, "--address", "127.0.0.1", "--port", "7950")
        assert run_here(capsys, *line[1:], *own).code == 0
    for name in ("n1", "n2", "n3"):
        found = told(run_here(capsys, "config", "validate", "--config", str(here / f"{name}.toml"), "-o", "json"))
        assert (found["valid"], found["errors"], found["warnings"]) == (True, [], []), name


def test_a_primary_node_named_later_is_no_second_founder(capsys: Capture, here: Path) -> None:
    founded(capsys, here)
    with (here / "n1.toml").open("r+") as file:
        text = file.read()
        file.seek(0)
        file.write(f'FAILOVER_PRIMARY_NODE = "n1"\n{text}')
    assert effective(str(here / "n1.toml"))["CLUSTER_BOOTSTRAP"] is False


def test_the_line_can_be_had_again(capsys: Capture, here: Path) -> None:
    line = founded(capsys, here).out
    assert run_here(capsys, "init", "--token", "--config", str(here / "n1.toml")).out == line


def test_the_line_of_a_node_that_runs_by_its_environment_alone(
    capsys: Capture, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Compose and a StatefulSet have it: no file was named, and none is in the usual place."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    secret = new_secret()
    environment = {"XDG_CONFIG_HOME": str(here), "CLUSTER_ENABLED": "true", "CLUSTER_NAME": "lab"}
    for key, value in {**environment, "CLUSTER_ADVERTISE_ADDRESS": "10.0.0.1", "CLUSTER_SECRET": secret}.items():
        monkeypatch.setenv(key, value)
    outcome = run_here(capsys, "init", "--token")
    invitation = invitation_of(outcome.out.split()[2])
    assert (invitation.name, invitation.seeds, invitation.secret) == ("lab", ("10.0.0.1:7946",), secret)


@pytest.mark.parametrize(("own", "met"), [("127.0.0.1:7946", True), ("127.0.0.1:7999", False)])
def test_the_line_names_members_that_answer_lest_one_that_is_down_keeps_others_out(
    capsys: Capture, here: Path, serve: Callable[..., FakeDaemon], own: str, met: bool
) -> None:
    founded(capsys, here)
    ports = (int(own.rpartition(":")[2]), 7948, 7950)
    nodes = [{"address": "127.0.0.1", "port": port, "answers": port != 7948} for port in ports]
    serve("n1", status=lambda _: {"nodes": nodes})
    line = run_here(capsys, "init", "--token", "--config", str(here / "n1.toml")).out
    seeds = ("127.0.0.1:7946", "127.0.0.1:7950") if met else ("127.0.0.1:7946",)
    assert invitation_of(line.split()[2]).seeds == seeds  # A daemon of another cluster is not asked twice.


@pytest.mark.parametrize("kept", ["n1.toml", "n1.secret"])
def test_nothing_is_written_over(capsys: Capture, here: Path, kept: str) -> None:
    (here / kept).write_text("mine\n")
    outcome = founded(capsys, here)
    assert outcome.code == 5
    assert "is there already; nothing was changed" in outcome.err
    assert (here / kept).read_text() == "mine\n"
    assert [path.name for path in here.iterdir()] == [kept]


def test_a_full_disk_is_told_with_the_file_and_nothing_stays(
    capsys: Capture, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    outcome = founded(capsys, here)
    assert (outcome.code, f"cannot write `{here / 'n1.secret'}`: no space left on device" in outcome.err) == (1, True)
    assert list(here.iterdir()) == []


def test_a_state_directory_that_cannot_be_looked_at_is_told(here: Path) -> None:
    named = here / ("n" * 300)
    with pytest.raises(CliError, match=f"cannot make `{named}`: file name too long"):
        _Written().directory(named)


def test_a_node_that_has_begun_founds_nothing(capsys: Capture, here: Path) -> None:
    (here / "n1").mkdir()
    (here / "n1" / "journal.db").write_bytes(b"")
    outcome = founded(capsys, here)
    assert outcome.code == 5
    assert "has begun already" in outcome.err
    assert not (here / "n1.toml").exists()


def test_a_configuration_that_would_not_run_is_taken_back(capsys: Capture, here: Path) -> None:
    outcome = founded(capsys, here, "--node-id", "No Id")
    assert outcome.code == 2
    assert "CLUSTER_NODE_ID" in outcome.err
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(("cut", "why"), [(40, "cut off"), (3, "begins with"), (-1, "damaged|cut off")])
def test_a_token_that_did_not_come_whole_says_so(capsys: Capture, here: Path, cut: int, why: str) -> None:
    token = founded(capsys, here).out.split()[2][:cut]
    outcome = run_here(capsys, "join", token, "--config", str(here / "n2.toml"))
    assert outcome.code == 2
    assert any(word in outcome.err for word in why.split("|"))
    assert not (here / "n2.toml").exists()


@pytest.mark.parametrize(("address", "listens"), [("::1", "::1"), ("fd00::1", "::")])
def test_an_ipv6_address_goes_all_the_way_into_the_seeds_of_who_joins(
    capsys: Capture, here: Path, address: str, listens: str
) -> None:
    line = founded(capsys, here, "--address", address).out.split()
    assert invitation_of(line[2]).seeds == (f"[{address}]:7946",)
    other = here / "n2.toml"
    assert run_here(capsys, *line[1:], "--config", str(other), "--node-id", "n2", "--address", "fd00::2").code == 0
    assert effective(str(other))["CLUSTER_SEED_NODES"] == [f"[{address}]:7946"]
    assert effective(str(here / "n1.toml"))["CLUSTER_ADDRESS"] == listens
