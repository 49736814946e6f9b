"""Numbers in the words operators read: durations, ages, counts."""

from __future__ import annotations

from datetime import UTC, datetime


def duration(seconds: float) -> str:
    """About two significant parts: `0.3s`, `45s`, `4m32s`, `3h04m`, `3d04h`. Negative counts as zero."""
    if seconds < 9.95:
        return f"{max(seconds, 0.0):.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours}h{minutes:02d}m"
    days, hours = divmod(hours, 24)
    return f"{days}d{hours:02d}h"


def ago(seconds: float) -> str:
    """How long ago: `now` below a tenth of a second."""
    return "now" if seconds < 0.1 else duration(seconds)


def as_known(age_s: float | None) -> str:
    """How old a stale answer is."""
    if age_s is None:
        return "this node knows nothing yet"
    return "as this node knows it now" if ago(age_s) == ago(0.0) else f"as this node knew it {ago(age_s)} ago"


def milliseconds(value: float) -> str:
    """A round trip: `0.8ms`, `21ms`."""
    return f"{value:.1f}ms" if value < 9.95 else f"{value:.0f}ms"


def count(number: int, noun: str) -> str:
    """`1 node`, `2 nodes`, `no node`."""
    if number == 0:
        return f"no {noun}"
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def seconds_since(instant: str | None, now: float) -> float | None:
    """Seconds from an RFC 3339 instant to `now` (Unix time); None when there is none or it is malformed."""
    if not instant:
        return None
    try:
        then = datetime.fromisoformat(instant)
    except ValueError:
        return None
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    return now - then.timestamp()
