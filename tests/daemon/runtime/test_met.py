"""The file of where the others are: written when it changed, read whatever is in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mltbd.runtime.met import FILE, MET_MAX, Met


def test_what_one_run_saw_the_next_one_knows(tmp_path: Path) -> None:
    assert Met(tmp_path).found == ()
    Met(tmp_path).keep([("10.0.1.12", 7946), ("n2.example", 7950)])
    again = Met(tmp_path)
    assert again.found == ("10.0.1.12:7946", "n2.example:7950")
    assert again.seeds(("n2.example:7950", "10.0.1.11:7946"), "10.0.1.12:7946") == ("n2.example:7950", "10.0.1.11:7946")
    again.keep([])  # It saw nobody: what was known stays.
    assert Met(tmp_path).found == again.found


def test_it_is_written_only_when_it_changed(tmp_path: Path) -> None:
    met = Met(tmp_path)
    met.keep([("a", 1), ("b", 2)])
    (tmp_path / FILE).unlink()
    met.keep([("b", 2), ("a", 1)])
    assert not (tmp_path / FILE).exists()
    met.keep([("b", 3)])
    assert Met(tmp_path).found == ("b:3",)


def test_its_length_has_a_limit(tmp_path: Path) -> None:
    Met(tmp_path).keep([("host", port) for port in range(1, 100)])
    assert len(Met(tmp_path).found) == MET_MAX


@pytest.mark.parametrize(
    "text", ["", "{", "1", '{"a": 1}', '[1, "x", "host:0", ":1", "host:99999", "h:1x"]', "[" * 9000, "\xff"]
)
def test_junk_is_nobody(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text, encoding="latin-1")
    assert Met(tmp_path).found == ()


def test_a_directory_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    Met(tmp_path / "gone").keep([("a", 1)])
