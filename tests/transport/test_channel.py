"""One connection for many threads: each has its own answer, somebody always reads, and crowds travel together."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mltb_transport import channel as channels
from mltb_transport.answers import result
from mltb_transport.calls import Call, command, read, request
from mltb_transport.channel import Channel
from mltb_transport.control import CallFailed, Unreachable
from mltb_transport.store import SET, packed
from tests.mltbctl.fake_daemon import FakeDaemon, Later, Silence
from tests.transport.conftest import opened_to
from tests.waiting import until

PATIENT_S = 30.0


def put(number: int) -> Call:
    return command(f"c{number}", 1, packed(f"c{number}", 1, SET, f"k{number}", "1", -1, "", 0).body)


def asked(channel: Channel, call: Call, seconds: float = PATIENT_S) -> Call:
    assert channel.ask(call, time.monotonic() + seconds)
    return call


def in_threads(*work: Callable[[], object]) -> list[threading.Thread]:
    threads = [threading.Thread(target=one) for one in work]
    for thread in threads:
        thread.start()
    return threads


def ended(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join(PATIENT_S)
        assert not thread.is_alive()


def test_each_thread_has_its_own_answer(channel: Channel) -> None:
    wrong: list[Any] = []

    def work(name: int) -> None:
        for turn in range(40):
            number = 1000 * name + turn
            if result(asked(channel, request("ping", {"n": number})).answer) != {"n": number}:
                wrong.append(number)
            if asked(channel, put(number)).answer[:2] != ["ok", 1]:
                wrong.append(number)
            if asked(channel, read(f"k{number}")).answer[0] != "entry":
                wrong.append(number)

    ended(in_threads(*[lambda name=name: work(name) for name in range(1, 9)]))
    assert wrong == []


def patiently(channel: Channel, crowd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many are waited for, and for as long as it takes."""
    monkeypatch.setattr(channels, "GAP_S", PATIENT_S)
    monkeypatch.setattr(channels, "GATHER_S", PATIENT_S)
    channel._expect(crowd)


def test_those_who_were_answered_together_ask_together(
    daemon: FakeDaemon, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    patiently(channel, 6, monkeypatch)
    ended(in_threads(*[lambda number=number: asked(channel, put(number)) for number in range(6)]))
    assert daemon.bundles == [6]


def test_it_is_known_how_many_were_answered_together(
    daemon: FakeDaemon, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames that have all come are taken in at once."""
    monkeypatch.setattr(channels, "GAP_S", PATIENT_S)
    monkeypatch.setattr(channels, "GATHER_S", PATIENT_S)
    go = threading.Event()

    def late(params: dict[str, Any]) -> dict[str, Any]:
        raise Later(lambda: params if go.is_set() else None)

    daemon.answers["late"] = late
    threads = in_threads(*[lambda: asked(channel, request("late", {}))] * 4)
    until(lambda: len(daemon.calls) == 4)
    come, take = list[bytes](), channel._peer.take

    def all_came() -> bool:
        come.extend(take())
        return len(come) == 4

    with channel._mutex:
        monkeypatch.setattr(channel._peer, "take", lambda: come)
        go.set()
        until(all_came)
    ended(threads)
    assert channel._owed == 4


def test_somebody_always_reads(channel: Channel) -> None:
    """Who read for all leaves in vain; the next one has its answer all the same, and long before its time is over."""
    leader = threading.Thread(target=lambda: asked(channel, request("mute", {}), 0.3))
    leader.start()
    until(lambda: channel._leader is not None)
    got: list[Any] = []
    follower = threading.Thread(target=lambda: got.append(asked(channel, request("mute", {}), 0.6).done))
    follower.start()
    began = time.monotonic()
    assert result(asked(channel, request("ping", {"n": 1})).answer) == {"n": 1}
    ended([leader, follower])
    assert got == [False]
    assert time.monotonic() - began < PATIENT_S / 2
    assert channel._leader is None


def test_an_interrupted_reader_hands_over(
    channel: Channel, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "LOOK_S", PATIENT_S)
    go = threading.Event()

    def late(params: dict[str, Any]) -> dict[str, Any]:
        raise Later(lambda: params if go.is_set() else None)

    daemon.answers["late"] = late
    real = channel._lead
    cut = threading.Event()

    def lead(call: Call, deadline: float) -> None:
        if call.key == first.key:
            cut.wait(PATIENT_S)
            raise KeyboardInterrupt
        real(call, deadline)

    first = request("mute", {})
    monkeypatch.setattr(channel, "_lead", lead)

    def be_interrupted() -> None:
        with pytest.raises(KeyboardInterrupt):
            asked(channel, first)

    got: list[Any] = []
    threads = in_threads(be_interrupted)
    until(lambda: channel._leader is first)
    threads += in_threads(lambda: got.append(result(asked(channel, request("late", {"n": 2})).answer)))
    until(lambda: len(channel._calls) == 2)
    cut.set()
    ended(threads[:1])
    go.set()
    ended(threads)
    assert got == [{"n": 2}]


def test_a_reader_that_was_interrupted_while_it_left_is_no_reader(
    channel: Channel, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a signal handler that raises at the worst moment."""

    def interrupted(_: Call) -> None:
        raise KeyboardInterrupt

    def reader_gone() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(channel, "leave", interrupted)
            with pytest.raises(KeyboardInterrupt):
                asked(channel, put(1))
        assert channel._leader is not None

    reader_gone()
    with monkeypatch.context() as patch:
        patch.setattr(channels, "LOOK_S", PATIENT_S)
        began = time.monotonic()
        assert asked(channel, put(2)).answer[0] == "ok"
        assert time.monotonic() - began < PATIENT_S / 2
    go = threading.Event()

    def late(params: dict[str, Any]) -> dict[str, Any]:
        raise Later(lambda: params if go.is_set() else None)

    daemon.answers["late"] = late
    got: list[Any] = []
    waits = request("late", {"n": 1})
    with channel._mutex:
        channel._leader = channel._calls[0] = Call(0, b"")
    threads = in_threads(lambda: got.append(result(asked(channel, waits).answer)))
    until(lambda: waits.gate is not None)
    assert not waits.leads
    del channel._calls[0]  # It is answered, by now.
    until(lambda: waits.leads, PATIENT_S, "whoever waits takes over")
    go.set()
    ended(threads)
    assert got == [{"n": 1}]


def test_a_reader_that_is_held_up_costs_the_others_little(channel: Channel, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by a signal handler that takes its time."""
    go = threading.Event()
    real = channel._lead

    def lead(call: Call, deadline: float) -> None:
        if call.key == first.key:
            assert go.wait(PATIENT_S)
        real(call, deadline)

    first = request("mute", {})
    monkeypatch.setattr(channel, "_lead", lead)
    threads = in_threads(lambda: asked(channel, first, 0.2))
    until(lambda: channel._leader is first)
    assert result(asked(channel, request("ping", {"n": 2})).answer) == {"n": 2}
    assert asked(channel, put(1)).answer[0] == "ok"
    assert not go.is_set()
    go.set()
    ended(threads)


def test_a_late_answer_is_nobodys(channel: Channel, daemon: FakeDaemon) -> None:
    go = threading.Event()

    def late(params: dict[str, Any]) -> dict[str, Any]:
        raise Later(lambda: params if go.is_set() else None)

    daemon.answers["late"] = late
    assert not asked(channel, request("late", {"n": 1}), 0.05).done
    go.set()
    assert result(asked(channel, request("ping", {"n": 2})).answer) == {"n": 2}


def test_whoever_waits_hears_of_a_loss_and_what_was_not_sent_is_told_apart(tmp_path: Path) -> None:
    troubles: list[Any] = []

    def silent(_: dict[str, Any]) -> dict[str, Any]:
        raise Silence

    with FakeDaemon(tmp_path / "n1.sock", {"mute": silent}) as daemon:
        channel = opened_to(daemon)
        threads = in_threads(*[lambda: troubles.append(asked(channel, request("mute", {})).trouble)] * 5)
        until(lambda: len(daemon.calls) == 5)
    ended(threads)
    assert [type(trouble) for trouble in troubles] == [Unreachable] * 5
    assert all(trouble.sent for trouble in troubles)
    assert not channel.usable
    assert not channel.ask(request("mute", {}), time.monotonic() + 1), "nothing is sent any more"
    assert channel._shut


def test_a_cut_while_nobody_waits_is_seen_before_anything_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "n1.sock"
    with FakeDaemon(path, {"ping": lambda _: {}}) as daemon:
        channel = opened_to(daemon)
        asked(channel, request("ping", {}))
    with FakeDaemon(path, {"ping": lambda _: {}}) as daemon:
        until(lambda: not channel.ask(request("ping", {}), time.monotonic() + PATIENT_S))
        assert daemon.calls == []


def test_a_retired_channel_answers_what_is_under_way_and_takes_no_more(channel: Channel, daemon: FakeDaemon) -> None:
    go = threading.Event()

    def late(params: dict[str, Any]) -> dict[str, Any]:
        raise Later(lambda: params if go.is_set() else None)

    daemon.answers["late"] = late
    got: list[Any] = []
    threads = in_threads(*[lambda: got.append(result(asked(channel, request("late", {"n": 1})).answer))] * 2)
    until(lambda: len(daemon.calls) == 2)
    channel.retire()
    assert not channel.ask(request("ping", {}), time.monotonic() + PATIENT_S)
    assert not channel._shut
    go.set()
    ended(threads)
    assert got == [{"n": 1}] * 2
    assert channel._shut


def test_calls_under_way_have_a_limit(channel: Channel, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "CALLS_MAX", 2)
    threads = in_threads(*[lambda: asked(channel, request("mute", {}), 0.5)] * 2)
    until(lambda: len(daemon.calls) == 2)
    with pytest.raises(CallFailed, match="are under way"):
        asked(channel, request("ping", {}))
    ended(threads)
    assert result(asked(channel, request("ping", {"n": 1})).answer) == {"n": 1}


def test_a_bundle_has_a_limit(channel: Channel, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "BUNDLE_MAX", 3)
    patiently(channel, 99, monkeypatch)
    ended(in_threads(*[lambda number=number: asked(channel, put(number)) for number in range(3)]))
    assert daemon.bundles == [3]


def test_one_that_nobody_joins_is_sent_all_the_same(channel: Channel, daemon: FakeDaemon) -> None:
    channel._expect(99)
    assert asked(channel, put(1)).answer[0] == "ok"
    assert daemon.bundles == [1]


def test_as_long_as_some_come_back_the_rest_of_a_crowd_is_waited_for(
    channel: Channel, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "GAP_S", 1.0)
    monkeypatch.setattr(channels, "GATHER_S", PATIENT_S)
    channel._expect(3)
    threads = in_threads(lambda: asked(channel, put(1)))
    until(lambda: channel._owed == 2)
    channel._owed_until -= 0.9  # Most of the pause is over when the next one comes.
    threads += in_threads(lambda: asked(channel, put(2)))
    until(lambda: channel._owed == 1)
    assert channel._owed_until > time.monotonic() + 0.5
    ended(threads + in_threads(lambda: asked(channel, put(3))))
    assert daemon.bundles == [3]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts files as Linux shows them")
def test_a_channel_gives_back_what_it_opened(daemon: FakeDaemon) -> None:
    def files() -> int:
        return len(os.listdir("/proc/self/fd"))

    asked(first := opened_to(daemon), request("ping", {}))  # What the process opens once is open now.
    before = files()
    for _ in range(5):
        other = opened_to(daemon)
        asked(other, request("ping", {}))
        other.retire()
    until(lambda: files() <= before, what="the files are closed")
    first.retire()


@pytest.mark.parametrize(("daemon", "left"), [("remote", 0), ("remote", 1)], indirect=["daemon"])
def test_who_finds_no_descriptor_watches_nothing_and_may_try_again(
    channel: Channel, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    real, given = os.dup, list[int]()

    def dup(file: int) -> int:
        if len(given) >= left:
            raise OSError(errno.EMFILE, "Too many open files")
        given.append(real(file))
        return given[-1]

    with monkeypatch.context() as patch:
        patch.setattr(os, "dup", dup)
        with pytest.raises(OSError, match="Too many"):
            channel.watch("w", list)
    for file in given:
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(file)
    files = channel.watch("w", list)
    channel.unwatch("w")
    for file in files or pytest.fail("not watched"):
        os.close(file)
