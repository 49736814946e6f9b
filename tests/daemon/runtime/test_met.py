"""The file of where the others are: written when it changed, read whatever is in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mltb_transport.places import MET, MET_DAMAGED
from mltbd.core.membership import SEEDS_MAX
from mltbd.runtime.met import HOST_CHARS_MAX, MET_MAX, Met


def test_what_one_run_saw_the_next_one_knows(tmp_path: Path) -> None:
    assert Met(tmp_path).found == ()
    Met(tmp_path).keep([("10.0.1.12", 7946), ("n2.example", 7950)])
    again = Met(tmp_path)
    assert again.found == ("10.0.1.12:7946", "n2.example:7950")
    assert again.seeds(("n2.example:7950", "10.0.1.11:7946"), "10.0.1.12:7946") == ("n2.example:7950", "10.0.1.11:7946")
    assert again.places == (("10.0.1.12", 7946), ("n2.example", 7950))
    again.keep([("fd00::1", 7946)])
    assert Met(tmp_path).places[0] == ("fd00::1", 7946)
    again = Met(tmp_path)
    again.keep([])  # It saw nobody: what was known stays.
    assert Met(tmp_path).found == again.found


def test_it_is_written_only_when_it_changed(tmp_path: Path) -> None:
    met = Met(tmp_path)
    met.keep([("a", 1), ("b", 2)])
    (tmp_path / MET).unlink()
    met.keep([("b", 2), ("a", 1)])
    assert not (tmp_path / MET).exists()
    met.keep([("b", 3)])
    assert Met(tmp_path).found == ("b:3", "a:1", "b:2")


def test_whom_a_minority_does_not_see_stays_known(tmp_path: Path) -> None:
    Met(tmp_path).keep([(f"10.0.0.{number}", 7946) for number in (2, 3, 4, 5)])
    Met(tmp_path).keep([("10.0.0.3", 7946)])
    assert Met(tmp_path).found == tuple(f"10.0.0.{number}:7946" for number in (3, 2, 4, 5))


def test_its_length_has_a_limit_and_the_newest_stay(tmp_path: Path) -> None:
    for number in range(MET_MAX + 9):
        Met(tmp_path).keep([(f"{number:03}".rjust(HOST_CHARS_MAX, "h"), 65000)])
    found = Met(tmp_path).found
    assert len(found) == MET_MAX
    assert (found[0][-9:], found[-1][-9:]) == (f"{MET_MAX + 8}:65000", "009:65000")


def test_it_knocks_at_the_newest_and_at_no_more_than_a_node_takes(tmp_path: Path) -> None:
    Met(tmp_path).keep([("host", port) for port in range(101, 200)])
    assert Met(tmp_path).seeds(("seed:1",), "host:101") == ("seed:1", *(f"host:{port}" for port in range(102, 117)))
    assert len(Met(tmp_path).seeds(tuple(f"seed:{port}" for port in range(1, SEEDS_MAX)), "me:1")) == SEEDS_MAX


@pytest.mark.parametrize(
    "text", ["", "{", "1", '{"a": 1}', '[1, "x", "host:0", ":1", "host:99999", "h:1x"]', "[" * 9000, "\xff"]
)
def test_junk_is_nobody_and_is_put_aside(tmp_path: Path, text: str) -> None:
    """For `mltbctl recover`, which must not go by what was met since alone."""
    (tmp_path / MET).write_text(text, encoding="latin-1")
    met = Met(tmp_path)
    assert met.found == ()
    met.keep([("a", 1)])
    assert Met(tmp_path).found == ("a:1",)
    assert (tmp_path / MET_DAMAGED).read_text(encoding="latin-1") == text


def test_without_a_thread_it_is_written_all_the_same(tmp_path: Path) -> None:
    def aside(_: Callable[[], None]) -> None:
        raise RuntimeError("can't start new thread")

    Met(tmp_path, aside).keep([("a", 1)])
    assert Met(tmp_path).found == ("a:1",)


def test_what_can_be_read_of_a_damaged_file_is_known(tmp_path: Path) -> None:
    (tmp_path / MET).write_text('["a:1", "b", "c:3"]')
    assert Met(tmp_path).found == ("a:1", "c:3")
    assert (tmp_path / MET_DAMAGED).exists()


def test_what_is_damaged_and_cannot_be_put_aside_stays(tmp_path: Path) -> None:
    (tmp_path / MET).write_text("{")
    (tmp_path / MET_DAMAGED).mkdir()
    Met(tmp_path).keep([("a", 1)])
    assert (tmp_path / MET).read_text() == "{"


def test_the_disk_is_waited_for_elsewhere_and_the_newest_is_written_once(tmp_path: Path) -> None:
    waiting: list[Callable[[], None]] = []
    met = Met(tmp_path, waiting.append)
    for port in (1, 2, 3):
        met.keep([("a", port)])
    assert len(waiting) == 1
    assert not (tmp_path / MET).exists()
    waiting.pop()()
    assert Met(tmp_path).found == ("a:3", "a:2", "a:1")
    met.keep([("a", 4)])
    waiting.pop()()
    assert Met(tmp_path).found[0] == "a:4"


def test_a_directory_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    Met(tmp_path / "gone").keep([("a", 1)])
