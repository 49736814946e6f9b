"""The order of effects, and that what speaks of durable state waits for the disk."""

from __future__ import annotations

import pytest

from mltb_transport.messages import Message, Ping
from mltbd.core.effects import Leave, Note, Save, Send
from mltbd.core.log import InvariantViolation
from mltbd.core.outbox import WAITING_MAX, Outbox
from tests.daemon.core.core_kit import entries

ONE, TWO, THREE = Ping(1), Ping(2), Ping(3)


def to_n2(message: Message) -> Send:
    return Send("n2", message)


def test_effects_leave_in_the_order_they_came_and_once() -> None:
    out = Outbox()
    out.note("info", "hello")
    out.send("n2", ONE)
    out.put(Leave())
    assert out.take() == [Note("info", "hello"), to_n2(ONE), Leave()]
    assert out.take() == []


def test_saves_are_numbered() -> None:
    out = Outbox()
    assert [out.save(3, "n1", entries(3)), out.save(4, "", entries(4, first=2))] == [1, 2]
    assert out.take() == [Save(1, 3, "n1", entries(3)), Save(2, 4, "", entries(4, first=2))]


def test_term_and_vote_alone_need_no_write_of_their_own() -> None:
    out = Outbox()
    out.save(3, "")
    out.send_when_saved("n2", ONE)
    out.save(3, "n2")
    assert out.take() == [Save(2, 3, "n2", ())]
    out.save(4, "", entries(4))
    assert out.take() == [Save(3, 4, "", entries(4))]
    out.saved(2)
    assert out.take() == [to_n2(ONE)]


def test_nothing_waits_when_all_is_saved() -> None:
    out = Outbox()
    out.send_when_saved("n2", ONE)
    assert out.take() == [to_n2(ONE)]
    out.saved(out.save(1, ""))
    out.take()
    out.send_when_saved("n2", TWO)
    assert out.take() == [to_n2(TWO)]


def test_a_message_waits_for_every_save_before_it_and_for_none_behind_it() -> None:
    out = Outbox()
    out.save(1, "")
    out.send_when_saved("n2", ONE)
    out.save(2, "")
    out.send_when_saved("n2", TWO)
    out.save(3, "")
    out.take()
    out.saved(1)
    assert out.take() == [to_n2(ONE)]
    out.saved(2)
    assert out.take() == [to_n2(TWO)]
    out.saved(3)
    assert out.take() == []


def test_one_save_stands_for_all_before_it() -> None:
    out = Outbox()
    for message in (ONE, TWO, THREE):
        out.save(1, "")
        out.send_when_saved("n2", message)
    out.take()
    out.saved(2)
    assert out.take() == [to_n2(ONE), to_n2(TWO)]
    out.saved(1)  # late news
    assert (out.saved_number, out.take()) == (2, [])
    out.saved(3)
    assert out.take() == [to_n2(THREE)]


def test_what_is_released_is_given_out_once() -> None:
    out = Outbox()
    for message in (ONE, TWO):
        out.save(1, "")
        out.send_when_saved("n2", message)
    out.take()
    assert out.released(1) == [to_n2(ONE)]
    out.saved(1)
    assert out.take() == []
    assert (out.released(1), out.released(2)) == ([], [to_n2(TWO)])


def test_other_messages_do_not_wait() -> None:
    out = Outbox()
    out.save(1, "")
    out.send_when_saved("n2", ONE)
    out.send("n2", TWO)
    assert [effect for effect in out.take() if isinstance(effect, Send)] == [to_n2(TWO)]


def test_what_waits_has_a_limit() -> None:
    out = Outbox()
    out.save(1, "")
    for _ in range(WAITING_MAX):
        out.send_when_saved("n2", ONE)
    with pytest.raises(InvariantViolation, match=f"{WAITING_MAX} messages wait for a disk"):
        out.send_when_saved("n2", ONE)
    out.saved(1)
    assert sum(isinstance(effect, Send) for effect in out.take()) == WAITING_MAX
