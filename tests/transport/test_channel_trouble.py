"""One connection for many threads when it ends, or when a signal handler raises or takes its time in the middle."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from mltb_transport import channel as channels
from mltb_transport.answers import result
from mltb_transport.calls import Call, request
from mltb_transport.channel import Channel
from mltb_transport.control import Unreachable
from tests.mltbctl.fake_daemon import FakeDaemon
from tests.transport.test_channel import PATIENT_S, asked, ended, in_threads, put
from tests.waiting import until


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


def coming(channel: Channel, patch: pytest.MonkeyPatch) -> tuple[Call, Callable[[], None]]:
    """A call, and what has its answer come: it is taken in before, and not there to be taken until then."""
    call, peer = request("ping", {"n": 1}), channel._peer
    call.tell = lambda: None
    assert channel.start(call)
    comes, come = until(peer.take), list[bytes]()
    patch.setattr(peer, "take", lambda: [come.pop()] if come else [])

    def comes_now() -> None:
        come.extend(comes)
        comes.clear()

    return call, comes_now


def test_what_comes_while_it_looks_is_seen(channel: Channel, monkeypatch: pytest.MonkeyPatch) -> None:
    """To ask whether a connection is cut takes in what has come: an event loop is told of that once."""
    call, comes_now = coming(channel, monkeypatch)

    def lost(_: object) -> bool:
        comes_now()
        return False

    monkeypatch.setattr(type(channel._peer), "lost", property(lost))
    channel.look()
    assert result(call.answer) == {"n": 1}


@pytest.mark.parametrize("daemon", ["remote"], indirect=True)
def test_what_comes_while_it_asks_for_a_sign_of_life_is_seen(channel: Channel, monkeypatch: pytest.MonkeyPatch) -> None:
    """As above: to send takes it in as well."""
    call, comes_now = coming(channel, monkeypatch)

    def send(_: bytes) -> bool:
        comes_now()
        return True

    monkeypatch.setattr(channel._peer, "send", send)
    assert not channel.silent(call, 0.0, channels.QUIET_S)
    assert result(call.answer) == {"n": 1}


def in_main_interrupted(real: Callable[..., Any]) -> Callable[..., Any]:
    """As by a handler of signals that raises, when it was done but nobody knows."""

    def interrupted(*arguments: Any) -> Any:
        done = real(*arguments)
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt
        return done

    return interrupted


@pytest.mark.parametrize("what", ["send", "take", "lost"])
def test_an_exception_in_the_middle_ends_the_connection_for_all(
    daemon: FakeDaemon, channel: Channel, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Half a frame may have left, answers may be missing: better a loss that all hear of than answers in vain."""
    waits = [request("mute", {}) for _ in range(3)]
    threads = in_threads(*[lambda call=call: asked(channel, call) for call in waits])
    until(lambda: len(daemon.calls) == 3)
    mine, began = request("mute", {}), time.monotonic()
    with monkeypatch.context() as patch:
        if what == "lost":
            kind: Any = type(channel._peer)
            patch.setattr(kind, what, property(in_main_interrupted(kind.lost.fget)))
        else:
            patch.setattr(channel._peer, what, in_main_interrupted(getattr(channel._peer, what)))
        with pytest.raises(KeyboardInterrupt):
            asked(channel, mine)
    ended(threads)
    assert time.monotonic() - began < PATIENT_S / 2
    assert [type(call.trouble) for call in waits] == [Unreachable] * 3
    assert mine.sent, "nobody knows"
    assert not channel.ask(put(1), time.monotonic() + PATIENT_S), "nothing is sent any more"
    assert channel._shut


def test_an_exception_while_answers_are_given_out_leaves_nobody_waiting(
    channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, calls = list[Call](), [request("ping", {"n": number}) for number in range(3)]
    for call in calls:
        call.tell = lambda call=call: told.append(call)
        assert channel.start(call)
    with monkeypatch.context() as patch:
        patch.setattr(channel, "_finish", in_main_interrupted(channel._finish))
        with pytest.raises(KeyboardInterrupt):
            until(channel.look)
    channel.look()
    assert {id(call) for call in told} == {id(call) for call in calls}
    assert not channel.usable


def test_a_loss_that_was_interrupted_is_told_to_its_end(channel: Channel, monkeypatch: pytest.MonkeyPatch) -> None:
    told, calls = list[Call](), [request("mute", {}) for _ in range(3)]
    for call in calls:
        call.tell = lambda call=call: told.append(call)
        assert channel.start(call)
    with monkeypatch.context() as patch:
        patch.setattr(channel, "_finish", in_main_interrupted(channel._finish))
        with channel._mutex, pytest.raises(KeyboardInterrupt):
            channel._lose()
    assert len(told) == 1
    channel.leave(calls[0])
    assert told == calls


def test_what_was_kept_leaves_though_the_reader_is_held_up(channel: Channel, monkeypatch: pytest.MonkeyPatch) -> None:
    go, first, real = threading.Event(), request("mute", {}), channel._lead

    def lead(call: Call, deadline: float) -> None:
        if call.key == first.key:
            assert go.wait(PATIENT_S)
        real(call, deadline)

    monkeypatch.setattr(channel, "_lead", lead)
    threads = in_threads(lambda: asked(channel, first, 0.2))
    until(lambda: channel._leader is first)
    channel._expect(99)
    assert asked(channel, put(1), PATIENT_S / 2).done
    assert not go.is_set()
    go.set()
    ended(threads)


def test_a_reader_that_comes_late_touches_no_file_of_others(channel: Channel) -> None:
    """Its call was answered by somebody else, the last client has gone, and the number is another file's by now."""
    number = channel._wake_out.fileno()
    out, into = os.pipe()
    channel.retire()
    os.set_blocking(out, False)
    os.dup2(out, number)
    os.write(into, b"mine")
    channel._look_around()
    assert os.read(out, 9) == b"mine"
    for file in (out, into, number):
        os.close(file)
