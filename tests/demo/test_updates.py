"""The queue behind getUpdates: offsets acknowledge, delivery repeats, time and size are limited."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltbctl.demo.updates import AHEAD_MAX, EXPIRY_S, LIMIT_MAX, UPDATES_MAX, QueueFull, UpdateQueue


def filled(count: int, now: float = 0.0) -> UpdateQueue:
    queue = UpdateQueue(first_id=1)
    for number in range(count):
        queue.push({"message": number}, now)
    return queue


def ids(updates: list[dict[str, object]]) -> list[object]:
    return [update["update_id"] for update in updates]


def test_an_update_is_delivered_until_an_offset_acknowledges_it() -> None:
    queue = filled(3)
    assert ids(queue.take(0, 0, 1.0)) == [1, 2, 3]
    assert ids(queue.take(0, 0, 1.0)) == [1, 2, 3]
    assert ids(queue.take(3, 0, 1.0)) == [3]
    assert ids(queue.take(0, 0, 1.0)) == [3]
    assert queue.acknowledged == 2


def test_the_limit_bounds_an_answer_and_never_exceeds_a_hundred() -> None:
    queue = filled(LIMIT_MAX + 5)
    assert ids(queue.take(0, 2, 1.0)) == [1, 2]
    assert len(queue.take(0, LIMIT_MAX + 5, 1.0)) == LIMIT_MAX


def test_a_negative_offset_keeps_the_last_ones() -> None:
    queue = filled(5)
    assert ids(queue.take(-2, 0, 1.0)) == [4, 5]
    assert queue.pending(1.0) == 2
    assert ids(queue.take(-9, 0, 1.0)) == [4, 5]


def test_an_offset_far_in_the_future_acknowledges_nothing() -> None:
    queue = filled(2)
    assert ids(queue.take(3 + AHEAD_MAX + 1, 0, 1.0)) == [1, 2]
    assert queue.take(3 + AHEAD_MAX, 0, 1.0) == []
    assert queue.pending(1.0) == 0


def test_an_update_expires_after_a_day() -> None:
    queue = filled(1, now=0.0)
    queue.push({}, 10.0)
    assert queue.pending(EXPIRY_S - 1) == 2
    assert ids(queue.take(0, 0, EXPIRY_S + 1)) == [2]
    assert queue.expired == 1


def test_a_full_queue_refuses_and_drops_nothing() -> None:
    queue = filled(UPDATES_MAX)
    with pytest.raises(QueueFull):
        queue.push({}, 1.0)
    assert ids(queue.take(0, 1, 1.0)) == [1]
    queue.take(2, 1, 1.0)
    assert queue.push({}, 1.0) == UPDATES_MAX + 1


def test_clear_forgets_what_waits() -> None:
    queue = filled(4)
    queue.clear()
    assert queue.pending(1.0) == 0
    assert queue.push({}, 1.0) == 5


@given(st.lists(st.one_of(st.just(None), st.integers(-20, 40)), max_size=60))
def test_it_behaves_as_a_list_of_ids(actions: list[int | None]) -> None:
    """None pushes; a number polls with that offset. Compared with a plain list."""
    queue, model, next_id = UpdateQueue(first_id=1), list[int](), 1
    for action in actions:
        if action is None:
            queue.push({}, 0.0)
            model.append(next_id)
            next_id += 1
            continue
        if action < 0:
            model = model[action:]
        elif action <= next_id + AHEAD_MAX:
            model = [number for number in model if number >= action]
        assert ids(queue.take(action, 0, 1.0)) == model[:LIMIT_MAX]
