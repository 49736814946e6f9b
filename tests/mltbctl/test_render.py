"""How a Result and a failure become text, and when there is colour."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mltbctl.errors import CliError, MltbError
from mltbctl.render import failure_data, failure_text, output_format, style_for, text_of, verdict_lines, write
from mltbctl.result import ExitCode, Result, Style
from tests.mltbctl.fake_store import FakeStore
from tests.mltbctl.terminal import Outcome


class Stream(io.TextIOWrapper):
    """A stream that is a terminal or not, with an encoding."""

    def __init__(self, *, terminal: bool, encoding: str = "utf-8") -> None:
        super().__init__(io.BytesIO(), encoding=encoding)
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


@pytest.mark.parametrize(
    ("asked", "environ", "terminal", "expected"),
    [
        ("", {}, True, "table"), ("", {}, False, "plain"), ("json", {"MLTBCTL_OUTPUT": "plain"}, True, "json"),
        ("", {"MLTBCTL_OUTPUT": "jsonl"}, True, "jsonl"), ("", {"MLTBCTL_OUTPUT": ""}, True, "table"),
    ],
)  # fmt: skip
def test_output_format(asked: str, environ: dict[str, str], terminal: bool, expected: str) -> None:
    with Stream(terminal=terminal) as stream:
        assert output_format(asked, environ, stream) == expected


@pytest.mark.parametrize(
    ("asked", "environ", "terminal", "output", "expected"),
    [
        ("auto", {}, True, "table", True),
        ("auto", {}, False, "table", False),
        ("auto", {}, True, "plain", False),
        ("auto", {"TERM": "dumb"}, True, "table", False),
        ("auto", {"NO_COLOR": "1"}, True, "table", False),
        ("auto", {"NO_COLOR": ""}, True, "table", True),
        ("auto", {"FORCE_COLOR": "1"}, False, "plain", True),
        ("auto", {"FORCE_COLOR": "0"}, True, "table", False),
        ("auto", {"FORCE_COLOR": "1", "NO_COLOR": "1"}, True, "table", False),
        ("always", {"NO_COLOR": "1"}, False, "table", True),
        ("never", {"FORCE_COLOR": "1"}, True, "table", False),
    ],
)
def test_colour(asked: str, environ: dict[str, str], terminal: bool, output: str, expected: bool) -> None:
    with Stream(terminal=terminal) as stream:
        assert style_for(stream, asked, environ, output).colour is expected


@pytest.mark.parametrize(("columns", "expected"), [("80", 80), ("3", 40), ("9999", 500), ("wide", 140), ("", 140)])
def test_width(columns: str, expected: int) -> None:
    with Stream(terminal=True) as stream:
        assert style_for(stream, "auto", {"COLUMNS": columns}).width == expected


@pytest.mark.parametrize(
    ("terminal", "output", "environ", "expected"),
    [
        (True, "table", {}, False),
        (True, "plain", {}, True),
        (False, "table", {}, True),
        (False, "plain", {}, True),
        (False, "plain", {"COLUMNS": "80"}, False),
    ],
)
def test_tables_are_whole_where_there_is_no_screen(
    terminal: bool, output: str, environ: dict[str, str], expected: bool
) -> None:
    with Stream(terminal=terminal) as stream:
        assert style_for(stream, "auto", environ, output).whole is expected


def test_ascii_signs_where_the_encoding_has_no_more() -> None:
    with Stream(terminal=True, encoding="latin-1") as stream:
        style = style_for(stream, "auto", {})
    assert not style.unicode
    assert style.glyph("leader") == "*"


def test_what_the_encoding_lacks_becomes_a_question_mark() -> None:
    with Stream(terminal=True, encoding="ascii") as stream:
        write(stream, "→ done\n")
        assert stream.buffer.getvalue() == b"? done\n"  # type: ignore[attr-defined]


def test_a_full_disk_does_not_look_like_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr("sys.stdout", full)
        with pytest.raises(CliError, match="cannot write the output: no space left on device"):
            write(full, "one line")
        monkeypatch.undo()


def closed(streams: str, *arguments: str) -> Outcome:
    """The command line as the shell starts it with `streams`, e.g. `>&- <&-`."""
    command = ["sh", "-c", f'exec "$@" {streams}', "sh", sys.executable, "-m", "mltbctl", *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return Outcome(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("arguments", ["version", "--version", "--help", "lock", "lock run -h", "help exit-codes"])
@pytest.mark.parametrize(("streams", "why"), [(">&-", "stdout is closed"), (">/dev/full", "no space left on device")])
def test_output_that_goes_nowhere_is_a_failure(arguments: str, streams: str, why: str) -> None:
    if "full" in streams and not Path("/dev/full").exists():
        pytest.skip("/dev/full is Linux's")
    assert closed(streams, *arguments.split()) == Outcome(1, "", f"error: cannot write the output: {why}\n")


def test_a_failure_is_told_once_where_stdout_takes_nothing(runtime: Path) -> None:
    del runtime
    outcome = closed(">&-", "-o", "json", "status")
    assert outcome.code == ExitCode.UNREACHABLE
    assert outcome.err.count("error: ") == 1


@pytest.mark.usefixtures("store")
def test_an_answer_that_cannot_be_written_is_no_answer(runtime: Path) -> None:
    del runtime
    assert closed(">&-", "is", "leader").code == 2


@pytest.mark.usefixtures("store")
def test_who_prints_nothing_needs_no_streams(runtime: Path) -> None:
    del runtime
    assert closed(">&- 2>&- <&-", "is", "leader", "-q").code == 0
    assert closed(">&- 2>&- <&-", "lock", "run", "k", "--", "true").code == 0


def test_a_value_from_a_closed_stdin_is_not_empty(store: FakeStore) -> None:
    outcome = closed("<&-", "state", "set", "k", "-")
    assert outcome.code == ExitCode.USAGE
    assert outcome.err.startswith("error: cannot read the value from stdin: stdin is closed\n")
    assert store.entries == {}


def test_forms_of_a_result() -> None:
    result = Result({"items": [{"a": "ü"}, {"a": "b"}]}, lambda style: style.bold("words"), rows="items")
    assert text_of(result, "table", Style(colour=True)) == "\x1b[1mwords\x1b[0m"
    assert text_of(result, "plain", Style()) == "words"
    assert json.loads(text_of(result, "json", Style())) == {"schema": 1, **result.data}
    assert text_of(result, "jsonl", Style()) == '{"schema": 1, "a": "ü"}\n{"schema": 1, "a": "b"}'
    assert text_of(result, "json", Style(unicode=False), compact=True).isascii()
    assert text_of(Result({"a": 1}), "jsonl", Style()) == '{"schema": 1, "a": 1}'
    assert text_of(Result({"a": 1}), "plain", Style()) == ""


def test_forms_of_a_failure() -> None:
    error = CliError("no `x`", "run `y`", code="refused", details={"operation": 7})
    assert failure_text(error, Style()) == "error: no `x`\n\nhint: run `y`"
    assert failure_text(CliError("no"), Style()) == "error: no"
    assert failure_data(error) == {
        "schema": 1,
        "error": {"code": "refused", "message": "no `x`", "hint": "run `y`", "operation": 7},
    }
    assert error.exit_code == ExitCode.REFUSED
    assert MltbError("no", code="of the future").exit_code == ExitCode.FAILED


def test_verdict_names_the_reasons() -> None:
    lines = verdict_lines(
        [{"node": "n1", "eligible": False}, {"node": "node-2", "eligible": True, "reasons": ["best"]}], Style()
    )
    assert lines == ["  n1      ✗ not eligible", "  node-2  ✓ eligible  best"]


def test_a_lock_that_nobody_was_told_of_is_given_back(runtime: Path, store: FakeStore) -> None:
    del runtime
    assert closed(">/dev/full", "lock", "acquire", "backup").code == 1
    assert store.executed == 2, "acquired, and released"
    assert not any(store.lines.values())


@pytest.mark.parametrize("arguments", ["lock acquire backup", "-q -o json lock acquire backup"])
def test_a_lock_whose_reader_is_gone_is_given_back(runtime: Path, store: FakeStore, arguments: str) -> None:
    del runtime
    out, into = os.pipe()
    os.close(out)
    command = [sys.executable, "-m", "mltbctl", *arguments.split()]
    done = subprocess.run(command, check=False, stdout=into, stderr=subprocess.PIPE, text=True)
    os.close(into)
    assert (done.returncode, done.stderr) == (1, "error: cannot write the output: its reader is gone\n")
    assert store.executed == 2, "acquired, and released"
    assert not any(store.lines.values())
