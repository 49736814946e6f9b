"""A cluster as the README sets it up: one `init`, two pasted lines, and three real nodes that become its voters."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mltbctl.client import Client, MltbError
from mltbctl.demo.cluster import free_port_pairs
from tests.mltbctl.terminal import environment
from tests.waiting import until

PATIENCE_S = 90.0


def ctl(here: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "mltbctl", *arguments]
    done = subprocess.run(command, env=surroundings(here), capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def surroundings(here: Path) -> dict[str, str]:
    return environment(MLTB_RUNTIME_DIR=str(here / "r"))


@contextmanager
def running(here: Path, names: tuple[str, ...]) -> Iterator[None]:
    nodes = []
    try:
        for name in names:
            command = [sys.executable, "-m", "mltbd.main", "run", "--config", str(here / f"{name}.toml")]
            command += ["--state-dir", str(here / name)]
            with (here / f"{name}.log").open("w") as log:
                nodes.append(subprocess.Popen(command, env=surroundings(here), stdout=log, stderr=log))
        yield
    finally:
        for node in nodes:
            node.send_signal(signal.SIGTERM)
        for node in nodes:
            try:
                node.wait(30)
            except subprocess.TimeoutExpired:
                node.kill()
                node.wait()


def test_one_founds_two_join_and_all_three_vote(tmp_path_factory: pytest.TempPathFactory) -> None:
    here = tmp_path_factory.mktemp("j")
    ports = [str(port) for port in free_port_pairs(3)]
    place = ("--address", "127.0.0.1", "--port", ports[0], "--config", str(here / "n1.toml"))
    line = ctl(here, "init", "--node-id", "n1", "--name", "lab", "--state-dir", str(here / "n1"), *place).split()
    for name, port in zip(("n2", "n3"), ports[1:], strict=True):
        own = ("--node-id", name, "--address", "127.0.0.1", "--port", port, "--config", str(here / f"{name}.toml"))
        ctl(here, *line[1:], *own)

    def picture() -> dict[str, Any] | None:
        try:
            with Client(str(here / "r" / "mltb" / "n2.sock"), timeout=2) as client:
                return client.status()
        except MltbError:
            return None

    def whole() -> bool:
        seen = picture()
        return bool(seen and seen["cluster"]["quorum"]["voters"] == 3 and seen["cluster"]["quorum"]["has_quorum"])

    logs = [here / f"{name}.log" for name in ("n1", "n2", "n3")]
    with running(here, ("n1", "n2", "n3")):
        until(whole, PATIENCE_S, f"three voters{os.linesep}")
        seen = picture()
        assert seen is not None
        assert seen["cluster"]["name"] == "lab", [log.read_text() for log in logs]
    assert not (here / "n3" / "founder").exists()
