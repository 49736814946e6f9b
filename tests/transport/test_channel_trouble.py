"""One connection for many threads when it ends, or when a signal handler raises in the middle of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mltb_transport.answers import result
from mltb_transport.calls import request
from mltb_transport.channel import Channel
from mltb_transport.control import Unreachable
from mltb_transport.keys import new_secret
from tests.mltbctl.fake_daemon import FakeDaemon
from tests.mltbctl.fake_store import FakeStore
from tests.transport.test_channel import opened_to
from tests.waiting import until


@pytest.fixture(params=["local", "remote"])
def daemon(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[FakeDaemon]:
    answers = {**FakeStore().answers(), "ping": lambda params: params}
    with FakeDaemon(tmp_path / "n1.sock", answers, new_secret() if request.param == "remote" else "") as one:
        yield one


@pytest.fixture
def channel(daemon: FakeDaemon) -> Iterator[Channel]:
    opened = opened_to(daemon)
    yield opened
    opened.retire()


def test_an_answer_that_has_come_is_not_lost_with_the_connection(
    channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon answered, and ended; and somebody else finds that out first, for he has something to say."""
    come, take = list[bytes](), channel._peer.take
    first, second = request("ping", {"n": 1}), request("ping", {"n": 2})
    first.tell = second.tell = lambda: None
    assert channel.start(first)
    come += until(take)
    monkeypatch.setattr(channel._peer, "take", lambda: [come.pop()] if come else [])
    monkeypatch.setattr(channel._peer, "send", lambda _: False)
    assert channel.start(second)
    assert (first.trouble, result(first.answer)) == (None, {"n": 1})
    assert isinstance(second.trouble, Unreachable)
    assert not second.trouble.sent
