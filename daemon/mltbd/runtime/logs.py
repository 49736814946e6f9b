"""The daemon's log on stderr: plain lines for people and journald, or one JSON object a line for machines."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

from mltbd.config.settings import Settings
from mltbd.say import write


class Stderr(logging.Handler):
    """A line that stderr does not take at once is dropped, and the next one that goes through says how many were: the
    loop must not wait for whoever reads there, or a healthy workload would lose its lease."""

    def __init__(self) -> None:
        super().__init__()
        self._lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if self._lost and self._written(_lost(self._lost)):
                self._lost = 0
            if self._lost or not self._written(record):
                self._lost += 1
        except Exception:  # What is logged wrongly must not end who logs it.
            self.handleError(record)

    def _written(self, record: logging.LogRecord) -> bool:
        return write(f"{self.format(record)}\n".encode(errors="backslashreplace"))


def _lost(count: int) -> logging.LogRecord:
    text = "%d lines before this one are lost: stderr did not take them"
    return logging.LogRecord("mltbd", logging.WARNING, "", 0, text, (count,), None)


class JsonLines(logging.Formatter):
    """Stable keys: ts, level, node, event; term where a decision belongs to one; error with a traceback."""

    def __init__(self, node: str) -> None:
        super().__init__()
        self._node = node

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "node": self._node,
            "event": record.getMessage(),
        }
        term = getattr(record, "term", None)
        if term is not None:
            line["term"] = term
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line)


def plain(node: str) -> logging.Formatter:
    """`I n1 leads term 4, elected by n1 n2`: journald has the time."""
    return logging.Formatter(f"%(levelname).1s {node} %(message)s")


def set_up(settings: Settings) -> None:
    """Level and form of everything logged from now on; again after a reload."""
    form = JsonLines(settings.node_id) if settings.log_format == "json" else plain(settings.node_id)
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(Stderr())
    for handler in root.handlers:
        handler.setFormatter(form)
    root.setLevel(settings.log_level)
