"""The one place that prints: a Result to stdout, talk and failures to stderr, each in the form asked for."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO

from mltbctl.errors import CliError, MltbError
from mltbctl.result import Style
from mltbctl.streams import unwritten

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mltbctl.result import Result

OUTPUTS = ("table", "json", "jsonl", "plain")
COLOURS = ("auto", "always", "never")
SCHEMA = 1
PIPE_COLUMNS = 140  # where words flow; a file or a pipe has no width, and tables are whole there
COLUMNS_MIN, COLUMNS_MAX = 40, 500


def output_format(asked: str, environ: Mapping[str, str], stdout: TextIO) -> str:
    """`--output`, else `$MLTBCTL_OUTPUT`, else table on a terminal and plain elsewhere."""
    chosen = asked or environ.get("MLTBCTL_OUTPUT", "")
    if not chosen:
        return "table" if stdout.isatty() else "plain"
    if chosen not in OUTPUTS:
        raise CliError(f"`{chosen}` is no output format", f"use one of {', '.join(OUTPUTS)}", code="usage")
    return chosen


def style_for(stream: TextIO, colour: str, environ: Mapping[str, str], output: str = "table") -> Style:
    """How text may look on `stream`; `colour` is `--color`. Plain output does not depend on the terminal."""
    plain = output == "plain"
    whole = "COLUMNS" not in environ and (plain or not stream.isatty())
    return Style(
        colour=_colour(stream, colour, environ, plain),
        unicode=_unicode(stream),
        width=PIPE_COLUMNS if whole else _columns(stream, environ),
        whole=whole,
    )


def _colour(stream: TextIO, asked: str, environ: Mapping[str, str], plain: bool) -> bool:
    if asked != "auto":
        return asked == "always"
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR"):
        return environ["FORCE_COLOR"] != "0"
    return stream.isatty() and not plain and environ.get("TERM") != "dumb"


def _unicode(stream: TextIO) -> bool:
    encoding = (stream.encoding or "ascii").lower().replace("-", "").replace("_", "")
    return encoding == "utf8"


def _columns(stream: TextIO, environ: Mapping[str, str]) -> int:
    named = environ.get("COLUMNS", "")
    if named.isascii() and named.isdigit():
        return min(max(int(named), COLUMNS_MIN), COLUMNS_MAX)
    try:
        columns = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return PIPE_COLUMNS  # Not a terminal, or no file at all.
    return min(max(columns, COLUMNS_MIN), COLUMNS_MAX) if columns else 80


def text_of(result: Result, output: str, style: Style, *, compact: bool = False) -> str:
    """What stdout gets for `result`, without the last line end. `compact` keeps a JSON object on one line."""
    if output == "json":
        return _json({"schema": SCHEMA, **result.data}, style, indent=None if compact else 2)
    if output == "jsonl":
        rows = result.data[result.rows] if result.rows else [result.data]
        return "\n".join(_json({"schema": SCHEMA, **row}, style, indent=None) for row in rows)
    return result.text if isinstance(result.text, str) else result.text(style)


def failure_text(error: MltbError, style: Style) -> str:
    """What stderr gets: `error: ...`, the verdict on each candidate, and after an empty line `hint: ...`."""
    lines = [f"{style.bold(style.red('error:'))} {error.message}"]
    candidates = error.details.get("candidates")
    if candidates:
        lines += verdict_lines(candidates, style)
    return "\n".join(lines + hint_lines(error.hint, style))


def hint_lines(hint: str, style: Style) -> list[str]:
    """An empty line and `hint: ...`; nothing where there is none."""
    return ["", f"{style.bold(style.cyan('hint:'))} {hint}"] if hint else []


def failure_data(error: MltbError) -> dict[str, Any]:
    """The JSON object of a failure."""
    return {
        "schema": SCHEMA,
        "error": {"code": error.code, "message": error.message, "hint": error.hint, **error.details},
    }


def verdict_lines(candidates: list[dict[str, Any]], style: Style) -> list[str]:
    """One line per candidate: may it take over, and if not, why not."""
    width = max(len(each["node"]) for each in candidates)
    lines = []
    for each in candidates:
        reasons = ", ".join(each.get("reasons") or [])
        if each["eligible"]:
            verdict = style.green(f"{style.glyph('ok')} eligible") + (f"  {reasons}" if reasons else "")
        else:
            verdict = style.red(f"{style.glyph('no')} {reasons or 'not eligible'}")
        lines.append(f"  {each['node'].ljust(width)}  {verdict}")
    return lines


def print_result(result: Result, output: str, style: Style) -> bool:
    """`result` to stdout. A reader that has gone away is no failure: False."""
    text = text_of(result, output, style)
    return write(sys.stdout, text + "\n") if text else True


def print_one_of_many(result: Result, output: str, style: Style, *, end: str = "\n") -> None:
    """One more picture or object, on a line of its own, of a command that goes on until Ctrl-C. A reader that has
    gone away has seen enough: that ends the command as well."""
    if not write(sys.stdout, text_of(result, output, style, compact=True) + end):
        raise SystemExit(0)


def print_failure(error: MltbError, output: str, style: Style) -> None:
    """`error` to stderr in words, and to stdout as well when JSON was asked for."""
    write(sys.stderr, failure_text(error, style) + "\n")
    if output in ("json", "jsonl"):
        indent = 2 if output == "json" else None
        with suppress(CliError):  # There is one failure to tell, and it is told.
            write(sys.stdout, _json(failure_data(error), style, indent=indent) + "\n")


def write(stream: TextIO, text: str) -> bool:
    """`text` to `stream`, now; `?` for what its encoding lacks. False when the reader is gone: it went nowhere.

    Raises CliError when stdout cannot take it: a full disk must not look like an answer.
    """
    try:
        try:
            stream.write(text)
        except UnicodeEncodeError:
            stream.write(text.encode(stream.encoding or "ascii", "replace").decode(stream.encoding or "ascii"))
        stream.flush()
    except OSError as error:
        # The interpreter flushes again on its way out; that must not fail either.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
        if stream is sys.stdout and not isinstance(error, BrokenPipeError):
            raise unwritten(error) from error
        return False
    return True


def _json(data: object, style: Style, indent: int | None) -> str:
    import json

    return json.dumps(data, indent=indent, ensure_ascii=not style.unicode)
