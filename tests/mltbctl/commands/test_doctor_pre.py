"""Before the first start: ports, names, seeds, secrets, disk and configuration of one machine, asked for real."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from mltb_transport.keys import new_secret
from tests.mltbctl.fake_daemon import FakeDaemon
from tests.mltbctl.terminal import run_here
from tests.transport.nodes import free_port

Serve = Callable[..., FakeDaemon]
SECRET = new_secret()


@pytest.fixture
def look(
    runtime: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., set[tuple[str, str]]]:
    """Runs `doctor --pre` with these options; level and check of each finding, `told` has them whole."""
    monkeypatch.setenv("MLTB_STATE_DIR", str(runtime / "state"))

    def run(**options: object) -> set[tuple[str, str]]:
        lines = [f"{key} = {json.dumps(value)}" for key, value in ({"CLUSTER_NODE_ID": "n1"} | options).items()]
        config = runtime / "mltb.toml"
        config.write_text("\n".join(lines))
        config.chmod(0o600)
        monkeypatch.setenv("MLTB_CONFIG", str(config))
        done = run_here(capsys, "doctor", "--pre", "--strict", "-o", "json")
        told = json.loads(done.out)
        found = {(each["level"], each["check"]) for each in told["findings"]}
        assert done.code == (8 if found & {(level, check) for level, check in found if level in
                                           ("problem", "warning")} else 0)  # fmt: skip
        assert all(each["hint"] for each in told["findings"] if each["level"] in ("problem", "note"))
        return found

    return run


def test_a_machine_that_is_fit(look: Callable[..., set[tuple[str, str]]]) -> None:
    found = look(CLUSTER_PORT=free_port())
    assert {("ok", "port"), ("ok", "disk"), ("ok", "config")} <= found
    assert "problem" not in {level for level, _ in found}


def test_a_port_that_is_taken(look: Callable[..., set[tuple[str, str]]]) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port + 1)):
        assert ("problem", "port") in look(CLUSTER_PORT=port)


def test_a_seed_without_an_address(look: Callable[..., set[tuple[str, str]]]) -> None:
    assert ("problem", "name") in look(CLUSTER_PORT=free_port(), CLUSTER_SEED_NODES=["no-such-host.invalid:7946"])


def test_a_seed_that_does_not_run_yet(look: Callable[..., set[tuple[str, str]]]) -> None:
    assert ("note", "seed") in look(CLUSTER_PORT=free_port(), CLUSTER_SEED_NODES=[f"127.0.0.1:{free_port()}"])


def test_a_configuration_that_is_wrong(look: Callable[..., set[tuple[str, str]]]) -> None:
    assert ("problem", "config") in look(CLUSTER_PORT=free_port(), HA_MIN_NODES=0)


@pytest.mark.parametrize(("theirs", "level"), [(SECRET, "ok"), (new_secret(), "problem")])
def test_a_seed_and_its_secret(
    look: Callable[..., set[tuple[str, str]]], serve: Serve, theirs: str, level: str
) -> None:
    daemon = serve("n2", secret=theirs, ping=lambda _: {"node": "n2", "version": "0.1.0"})
    options = {"CLUSTER_SECRET": SECRET, "CLUSTER_ADDRESS": "127.0.0.1", "CLUSTER_PORT": free_port()}
    with socket.create_server(("127.0.0.1", daemon.port - 1)):
        found = look(**options, CLUSTER_SEED_NODES=[f"127.0.0.1:{daemon.port - 1}"])
    assert (level, "secret") in found
    assert ("ok", "seed") in found


def test_a_state_directory_that_cannot_be_looked_at(
    look: Callable[..., set[tuple[str, str]]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLTB_STATE_DIR", str(tmp_path / ("n" * 300) / "state"))
    assert ("problem", "disk") in look(CLUSTER_PORT=free_port())
