"""Durations and counts in words."""

from __future__ import annotations

import pytest

from mltbctl import words


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-1.0, "0.0s"), (0.0, "0.0s"), (0.34, "0.3s"), (9.94, "9.9s"), (9.96, "10s"), (59.4, "59s"), (59.6, "1m00s"),
        (272.0, "4m32s"), (3599.6, "1h00m"), (11_040.0, "3h04m"), (86_400.0, "1d00h"), (273_600.0, "3d04h"),
    ],
)  # fmt: skip
def test_duration(seconds: float, expected: str) -> None:
    assert words.duration(seconds) == expected


def test_ago_and_milliseconds_and_count() -> None:
    assert [words.ago(0.05), words.ago(0.3)] == ["now", "0.3s"]
    assert [words.milliseconds(0.84), words.milliseconds(21.3)] == ["0.8ms", "21ms"]
    assert [words.count(number, "node") for number in (0, 1, 2)] == ["no node", "1 node", "2 nodes"]


def test_how_old_a_stale_answer_is() -> None:
    assert words.as_known(None) == "this node knows nothing yet"
    assert words.as_known(0.01) == "as this node knows it now"
    assert words.as_known(90.0) == "as this node knew it 1m30s ago"


@pytest.mark.parametrize(
    ("instant", "expected"),
    [
        ("1970-01-01T00:01:40Z", 900.0), ("1970-01-01T01:01:40+01:00", 900.0), ("1970-01-01T00:01:40", 900.0),
        ("", None), (None, None), ("soon", None),
    ],
)  # fmt: skip
def test_seconds_since(instant: str | None, expected: float | None) -> None:
    assert words.seconds_since(instant, 1000.0) == expected
