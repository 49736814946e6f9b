"""A fake daemon, and one connection to it for many threads."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mltb_transport.channel import Channel
from mltb_transport.control import connect
from mltb_transport.keys import Keyring, new_secret
from tests.mltbctl.fake_daemon import FakeDaemon, Silence
from tests.mltbctl.fake_store import FakeStore

OPEN_S = 30.0


@pytest.fixture(params=["local", "remote"])
def daemon(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[FakeDaemon]:
    """Spoken to by the socket or by the port: one tells of what is there, the other of what is new."""

    def silent(_: dict[str, Any]) -> dict[str, Any]:
        raise Silence

    answers = {**FakeStore().answers(), "ping": lambda params: params, "mute": silent}
    with FakeDaemon(tmp_path / "n1.sock", answers, new_secret() if request.param == "remote" else "") as one:
        yield one


@pytest.fixture
def channel(daemon: FakeDaemon) -> Iterator[Channel]:
    opened = opened_to(daemon)
    yield opened
    opened.retire()


def opened_to(daemon: FakeDaemon) -> Channel:
    credential = Keyring.from_secret(daemon.secret).credential("admin") if daemon.secret else None
    where = f"127.0.0.1:{daemon.port}" if daemon.secret else str(daemon.path)
    return Channel(connect([where], credential, time.monotonic() + OPEN_S))
