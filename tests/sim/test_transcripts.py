"""Every story in tests/transcripts still goes as written. `MLTB_REWRITE=1` rewrites them; review the diff as code."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.sim.transcript import TranscriptError, parse, play, written

pytestmark = pytest.mark.sim

STORIES = sorted((Path(__file__).resolve().parents[1] / "transcripts").glob("*.txt"))


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_story(path: Path) -> None:
    before, now = play(path)
    if os.environ.get("MLTB_REWRITE"):
        path.write_text(written(now))
    else:
        assert written(now) == written(before)


def test_there_are_stories_and_each_says_what_it_proves() -> None:
    assert len(STORIES) >= 6
    for path in STORIES:
        assert path.read_text().startswith("# "), path.name


@pytest.mark.parametrize("text", ["# only words", "run 1", "run 1\n---\nok"])
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(TranscriptError):
        parse(text)


def test_unknown_command_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "story.txt"
    path.write_text("dance n1\n----\nok\n")
    with pytest.raises(TranscriptError, match="dance"):
        play(path)
