"""Changing the secret: the three steps, what refuses each of them, and that the file is whole at every moment."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mltb_transport.access import credential_of, fingerprint
from mltb_transport.keys import NEXT, PREVIOUS, Secrets, new_secret, read_secrets
from mltbctl.commands.rotate import lagging, plan, replace_file
from mltbctl.errors import CliError
from tests.mltbctl import pictures, surveys
from tests.mltbctl.fake_daemon import FakeDaemon, Refusal
from tests.mltbctl.terminal import Outcome, run_here

Serve = Callable[..., FakeDaemon]
OLD, NEW, OTHER = new_secret(), new_secret(), new_secret()


def facts(uses: str, also: str = "") -> dict[str, Any]:
    """What a node tells of itself, with these secrets."""
    secret = {"uses": fingerprint(uses), "also": fingerprint(also) if also else None, "insecure": False}
    return surveys.facts("n1") | {"secret": secret}


def test_the_file_knows_the_step() -> None:
    add = plan(Secrets(OLD))
    assert (add.step, add.after.used, add.after.which) == ("add", OLD, NEXT)
    switch = plan(add.after)
    assert (switch.step, switch.after) == ("switch", Secrets(add.after.other, OLD, PREVIOUS))
    drop = plan(switch.after)
    assert (drop.step, drop.after) == ("drop", Secrets(add.after.other))


@pytest.mark.parametrize(
    ("now", "node", "why"),
    [
        (Secrets(OLD), facts(OLD), None),
        (Secrets(OLD), facts(OTHER), "uses another secret"),
        (Secrets(OLD), None, "does not answer"),
        (Secrets(OLD, NEW, NEXT), facts(OLD, NEW), None),
        (Secrets(OLD, NEW, NEXT), facts(NEW, OLD), None),
        (Secrets(OLD, NEW, NEXT), facts(OLD), "does not take both secrets yet"),
        (Secrets(OLD, NEW, NEXT), facts(OLD, OTHER), "does not take both secrets yet"),
        (Secrets(OLD, NEW, NEXT), None, "does not answer"),
        (Secrets(NEW, OLD, PREVIOUS), facts(NEW, OLD), None),
        (Secrets(NEW, OLD, PREVIOUS), facts(NEW), None),
        (Secrets(NEW, OLD, PREVIOUS), facts(OLD, NEW), "still uses the old secret"),
        (Secrets(NEW, OLD, PREVIOUS), None, "does not answer"),
    ],
)
def test_a_step_waits_for_whoever_it_would_cut_off(now: Secrets, node: dict[str, Any] | None, why: str | None) -> None:
    assert lagging(plan(now), {"n3": node}, ()) == ({"n3": why} if why else {})
    assert lagging(plan(now), {"n3": node}, ("n3",)) == {}


class Stage:
    """A secret file, and a daemon that tells how far the nodes are."""

    def __init__(self, base: Path, serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
        self.file = base / "secret"
        self.file.write_text(OLD)
        self.file.chmod(0o600)
        self.nodes: dict[str, dict[str, Any] | None] = {"n1": facts(OLD), "n2": facts(OLD)}
        self.members: list[dict[str, Any]] = []
        self._capsys = capsys
        self.daemon = serve(
            survey=lambda _: {"node": "n1", "facts": self.nodes, "silent": {}, "clocks": {}},
            reload=lambda _: {"node": "n1"},
            status=lambda _: {"nodes": self.members},
        )

    def all(self, uses: str, also: str = "") -> None:
        self.nodes = dict.fromkeys(self.nodes, facts(uses, also))

    def rotate(self, *words: str) -> Outcome:
        return run_here(self._capsys, "secret", "rotate", *words)

    def reloads(self) -> int:
        return sum(method == "reload" for method, _ in self.daemon.calls)


@pytest.fixture
def stage(runtime: Path, serve: Serve, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setenv("CLUSTER_SECRET_FILE", str(runtime / "secret"))
    return Stage(runtime, serve, capsys)


def test_three_steps(stage: Stage) -> None:
    first = stage.rotate()
    assert first.code == 0
    assert "step 1 of 3" in first.out
    assert f"copy {stage.file} to n2" in first.out
    added = read_secrets(stage.file)
    assert (added.used, added.which) == (OLD, NEXT)
    assert stage.file.stat().st_mode & 0o777 == 0o600
    stage.all(OLD, added.other)
    assert stage.rotate().code == 0
    assert read_secrets(stage.file) == Secrets(added.other, OLD, PREVIOUS)
    stage.all(added.other, OLD)
    last = stage.rotate()
    assert "step 3 of 3" in last.out
    assert read_secrets(stage.file) == Secrets(added.other)
    assert stage.reloads() == 3
    for done in (first, last):
        assert OLD not in done.out + done.err
        assert added.other not in done.out + done.err


def test_refused_while_a_voter_is_silent_that_nobody_has_met(stage: Stage) -> None:
    """Nodes that were restarted know it from the log alone. It would come back with a secret that nobody takes."""
    stage.members = [pictures.node("n1", voter=True), pictures.unmet("n3")]
    done = stage.rotate("-o", "json")
    assert (done.code, json.loads(done.out)["error"]["behind"]) == (5, {"n3": "does not answer"})
    assert stage.rotate("--without", "n3").code == 0


def test_refused_while_somebody_is_not_ready(stage: Stage) -> None:
    stage.rotate()
    before = stage.file.read_bytes()
    done = stage.rotate("-o", "json")
    assert done.code == 5
    assert json.loads(done.out)["error"]["behind"] == {
        "n1": "does not take both secrets yet", "n2": "does not take both secrets yet",
    }  # fmt: skip
    assert stage.file.read_bytes() == before
    assert stage.reloads() == 1


@pytest.mark.parametrize("nonsense", [{"told": "nonsense"}, {"secret": {"uses": "a", "also": []}}])
def test_a_node_that_tells_nonsense_is_as_one_that_does_not_answer(stage: Stage, nonsense: dict[str, Any]) -> None:
    stage.nodes["n2"] = nonsense
    done = stage.rotate("-o", "json")
    assert (done.code, json.loads(done.out)["error"]["behind"]) == (5, {"n2": "does not answer"})
    assert stage.rotate("--without", "n2").code == 0


def test_a_dry_run_changes_nothing(stage: Stage) -> None:
    stage.nodes["n2"] = None
    done = stage.rotate("--dry-run")
    assert done.code == 0
    assert "n2 does not answer" in done.out
    assert stage.file.read_text() == OLD
    assert stage.reloads() == 0
    assert stage.rotate().code == 5
    assert stage.rotate("--without", "n2").code == 0


def test_a_reload_that_fails_does_not_hide_that_the_step_is_taken(stage: Stage) -> None:
    def lost(_: dict[str, Any]) -> dict[str, Any]:
        raise Refusal(message="lost")

    stage.daemon.answers["reload"] = lost
    done = stage.rotate()
    assert done.code == 0
    assert "step 1 of 3" in done.out
    assert "n1 could not be told: lost; run `mltbctl service reload` here" in done.err


def test_a_secret_that_is_not_in_a_file_is_changed_by_hand(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTER_SECRET", OLD)
    done = stage.rotate()
    assert done.code == 2
    assert "CLUSTER_SECRET_SECOND" in done.err


def test_a_directory_that_cannot_be_written_leaves_the_file(tmp_path: Path) -> None:
    with pytest.raises(CliError, match="cannot write"):
        replace_file(tmp_path / "absent" / "secret", "x")
    path = tmp_path / "secret"
    path.write_text("old")
    path.chmod(0o600)
    (tmp_path / ".secret.new").write_text("left over")
    replace_file(path, "new")
    assert path.read_text() == "new"
    assert sorted(os.listdir(tmp_path)) == ["secret"]


def test_show_tells_both_fingerprints(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    stage.file.write_text(Secrets(OLD, NEW, NEXT).text())
    done = run_here(capsys, "secret", "show")
    assert f"fingerprint {fingerprint(OLD)}; next {fingerprint(NEW)}" in done.out


@pytest.mark.parametrize("role", ["viewer", "admin"])
def test_keys_for_others(stage: Stage, capsys: pytest.CaptureFixture[str], role: str) -> None:
    done = run_here(capsys, "secret", "show", f"--{role}")
    assert (done.code, done.err) == (0, "")
    assert credential_of(done.out).role == role
    assert OLD not in done.out
    assert run_here(capsys, "secret", "show", "--reveal", f"--{role}").code == 2
    assert stage.daemon.calls == []


def test_a_client_with_two_secrets_finds_the_one_that_a_node_uses(
    runtime: Path, serve: Serve, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, used in enumerate((OLD, NEW)):
        daemon = serve(f"n{number}", secret=used, ping=lambda _: {}, reload=lambda _: {"node": "n9"})
        (runtime / "secret").write_text(Secrets(OLD, NEW, NEXT).text())
        (runtime / "secret").chmod(0o600)
        monkeypatch.setenv("CLUSTER_SECRET_FILE", str(runtime / "secret"))
        assert run_here(capsys, "-n", f"127.0.0.1:{daemon.port}", "service", "reload").code == 0
        assert daemon.calls == [("reload", {})], "sent once"
    foreign = serve("n7", secret=OTHER, reload=lambda _: {"node": "n7"})
    done = run_here(capsys, "-n", f"127.0.0.1:{foreign.port}", "service", "reload")
    assert done.code == 4
    assert "hint: run `mltbctl secret show`" in done.err
