"""Text in columns and flowing lines, painted after it is measured. Light enough for every start."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mltbctl.result import Style

GAP = 2  # blanks between columns
WRAPPED_COLUMNS = 30
"""Of a column that is wrapped: while less is left to it, others give way."""
_UNBROKEN = re.compile(r"(?:`[^`]*`|\S)+")
_ELLIPSIS = {True: "…", False: "~"}


@dataclass(frozen=True, slots=True)
class Cell:
    """A piece of text and the paint it gets: the name of a method of Style, or empty."""

    text: str
    paint: str = ""

    def painted(self, style: Style, width: int = 0, *, right: bool = False) -> str:
        """The text filled up to `width` columns, paint on the text alone."""
        blanks = " " * max(0, width - len(self.text))
        text = getattr(style, self.paint)(self.text) if self.paint else self.text
        return blanks + text if right else text + blanks


@dataclass(frozen=True, slots=True)
class Column:
    """A column's heading, whether it is right-aligned, and when it gives way (0: never, 1: first)."""

    heading: str
    right: bool = False
    gives_way: int = 0


def table(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], style: Style, indent: int = 2, *, wrap: bool = False
) -> list[str]:
    """Rows under bold headings, within `style.width`: columns give way in order, then the last is cut, or wrapped.
    Where the style is whole, no column gives way, and each row is one line."""
    kept = list(range(len(columns)))
    widths = [max([len(column.heading), *(len(row[at].text) for row in rows)]) for at, column in enumerate(columns)]
    needed = [*widths[:-1], min(widths[-1], WRAPPED_COLUMNS)] if wrap else widths
    leaving = sorted((column.gives_way, at) for at, column in enumerate(columns) if column.gives_way)
    while leaving and not style.whole and _total(needed, kept, indent) > style.width:
        kept.remove(leaving.pop(0)[1])
    over = _total(widths, kept, indent) - style.width
    last = kept[-1]
    if over > 0 and not style.whole:
        widths[last] = max(len(columns[last].heading), widths[last] - over)
    lines = [_line(columns, [Cell(column.heading, "bold") for column in columns], kept, widths, style, indent)]
    for row in rows:
        told = row[last].text
        pieces = _pieces(told, widths[last]) if wrap else [told]
        lines.append(_line(columns, [*row[:last], Cell(pieces[0], row[last].paint)], kept, widths, style, indent))
        margin = " " * (_total(widths, kept, indent) - widths[last])
        lines += [margin + Cell(piece, row[last].paint).painted(style) for piece in pieces[1:]]
    return lines


def _pieces(text: str, width: int) -> list[str]:
    """The words of `text` on lines of `width`; a longer word is on a line of its own."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return lines


def _total(widths: Sequence[int], kept: Sequence[int], indent: int) -> int:
    return indent + sum(widths[at] for at in kept) + GAP * (len(kept) - 1)


def _line(
    columns: Sequence[Column],
    row: Sequence[Cell],
    kept: Sequence[int],
    widths: Sequence[int],
    style: Style,
    indent: int,
) -> str:
    parts = []
    for at in kept:
        cell = row[at]
        if len(cell.text) > widths[at]:
            cell = Cell(cell.text[: widths[at] - 1] + _ELLIPSIS[style.unicode], cell.paint)
        parts.append(cell.painted(style, widths[at], right=columns[at].right))
    return (" " * indent + (" " * GAP).join(parts)).rstrip()


def flow(cells: Sequence[Cell], style: Style, indent: int = 2, gap: int = 3) -> list[str]:
    """Pieces on as few lines as fit `style.width`; the lines after the first are indented."""
    lines: list[str] = []
    line, length = "", 0
    for cell in cells:
        if length and length + gap + len(cell.text) > style.width:
            lines.append(line)
            line, length = " " * indent + cell.painted(style), indent + len(cell.text)
        elif length:
            line, length = line + " " * gap + cell.painted(style), length + gap + len(cell.text)
        else:
            line, length = cell.painted(style), len(cell.text)
    return [*lines, line] if line else lines


def wrapped(text: str, style: Style, first: str = "", indent: int = 2) -> list[str]:
    """Words of `text` on lines within `style.width`, the first after `first`, the others indented.

    A command in backticks is not broken: it is there to be copied.
    """
    lines = []
    line = first
    empty = True
    for word in _UNBROKEN.findall(text):
        if not empty and len(line) + 1 + len(word) > style.width:
            lines.append(line)
            line = " " * indent + word
        else:
            line += word if empty else f" {word}"
        empty = False
    return [*lines, line]
