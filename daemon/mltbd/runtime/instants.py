"""Wall clock of the log as people and scripts read it."""

from __future__ import annotations

from datetime import UTC, datetime


def instant(wall_ms: int, thousandths: bool = False) -> str | None:
    """RFC 3339 in UTC; None for never, and for what no calendar holds: another node may have said it."""
    if not wall_ms:
        return None
    try:
        text = datetime.fromtimestamp(wall_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return None
    return f"{text}.{wall_ms % 1000:03d}Z" if thousandths else f"{text}Z"
