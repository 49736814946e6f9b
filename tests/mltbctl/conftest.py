"""A machine of its own for each test: an empty runtime directory and none of the caller's settings."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.mltbctl.fake_daemon import Answer, FakeDaemon
from tests.mltbctl.fake_store import FakeStore

_STEERING = ("MLTB", "CLUSTER_", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "CREDENTIALS_DIRECTORY")


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty runtime directory, short enough for socket paths, and the only one that is looked at."""
    for name in list(os.environ):
        if name.startswith(_STEERING):
            monkeypatch.delenv(name)
    with TemporaryDirectory(prefix="mltb-") as directory:
        monkeypatch.setenv("MLTB_RUNTIME_DIR", directory)
        monkeypatch.setenv("MLTB_CONFIG", os.devnull)
        yield Path(directory)


@pytest.fixture
def serve(runtime: Path) -> Iterator[Callable[..., FakeDaemon]]:
    """Start a daemon's control socket: `serve("n2", status=..., secret="")`. All end with the test."""
    with ExitStack() as daemons:

        def start(node: str = "n2", secret: str = "", **answers: Answer) -> FakeDaemon:
            return daemons.enter_context(FakeDaemon(runtime / "mltb" / f"{node}.sock", answers, secret))

        yield start


@pytest.fixture
def store(serve: Callable[..., FakeDaemon]) -> FakeStore:
    """Locks and state, served by the daemon `n2`."""
    model = FakeStore()
    model.daemons.append(serve("n2", **model.answers()))
    return model
