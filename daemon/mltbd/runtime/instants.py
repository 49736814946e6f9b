"""Wall clock of the log as people and scripts read it."""

from __future__ import annotations

from datetime import UTC, datetime


def instant(wall_ms: int) -> str | None:
    """RFC 3339 in UTC; None for never."""
    if not wall_ms:
        return None
    return datetime.fromtimestamp(wall_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
