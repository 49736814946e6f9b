"""Exit codes and styles."""

from __future__ import annotations

import pytest

from mltbctl.errors import EXIT_CODES
from mltbctl.result import ExitCode, Result, Style


def test_exit_codes_are_those_of_the_contract() -> None:
    assert [int(code) for code in ExitCode] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 130]
    assert all(code.meaning for code in ExitCode)


def test_every_failing_exit_code_has_an_error_code_but_degraded() -> None:
    assert set(EXIT_CODES.values()) | {ExitCode.DONE, ExitCode.DEGRADED} == set(ExitCode)


@pytest.mark.parametrize("paint", ["bold", "dim", "red", "green", "yellow", "cyan"])
def test_paint(paint: str) -> None:
    assert getattr(Style(), paint)("x") == "x"
    painted = getattr(Style(colour=True), paint)("x")
    assert (painted.startswith("\x1b["), painted.endswith("x\x1b[0m")) == (True, True)
    assert getattr(Style(colour=True), paint)("") == ""


def test_glyphs_have_an_ascii_twin() -> None:
    for name in ("healthy", "leader", "follower", "witness", "dead", "local", "ok", "no", "arrow", "dash"):
        assert not Style().glyph(name).isascii()
        assert Style(unicode=False).glyph(name).isascii()
    assert Style(unicode=False).spinner(5) in "|/-\\"
    assert Style().spinner(0) != Style().spinner(1)
    with pytest.raises(KeyError):
        Style().glyph("smiley")


def test_a_result_is_done_unless_it_says_otherwise() -> None:
    assert Result({}).exit_code == ExitCode.DONE
