"""Golden files: what a command printed and how it ended, compared as a whole. `MLTB_REWRITE=1` writes them anew."""

from __future__ import annotations

import os
import re
from pathlib import Path

DIRECTORY = Path(__file__).parent.parent / "golden"
REWRITE = os.environ.get("MLTB_REWRITE") == "1"  # read now: tests clear the environment
_FILTERS = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "<instant>"),
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:<port>"),
    (re.compile(r"mltb1-[a-z0-9]+"), "<secret>"),
    (re.compile(r"\"waited_seconds\": [0-9.]+"), '"waited_seconds": <seconds>'),
    (re.compile(r"\"remaining_seconds\": [0-9.]+"), '"remaining_seconds": <seconds>'),
    (re.compile(r"\b[0-9a-f]{24}-1\b"), "<lock id>"),
    (re.compile(r"waited [0-9.]+s"), "waited <seconds>"),
    (re.compile(r"\x1b"), "␛"),
)


def check(name: str, text: str, *, hidden: str = "") -> None:
    """`text` is what tests/golden/NAME.txt holds, times, ports and the path `hidden` aside."""
    if hidden:
        text = text.replace(hidden, "<runtime>")
    for pattern, word in _FILTERS:
        text = pattern.sub(word, text)
    path = DIRECTORY / f"{name}.txt"
    if REWRITE:
        path.write_text(text)
    assert path.exists(), f"no golden file `{path.name}`: review and keep what MLTB_REWRITE=1 writes"
    assert text == path.read_text(), f"`{path.name}` differs: rewrite with MLTB_REWRITE=1 and review the change"


def transcript(command: str, code: int, out: str, err: str) -> str:
    """Exit code, stdout and stderr of one command in one text."""
    return f"$ {command}\nexit code {code}\n--- stdout\n{out}--- stderr\n{err}"
