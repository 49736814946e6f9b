"""The word an operator may have meant."""

from __future__ import annotations

from collections.abc import Iterable

WORD_CHARS_MAX = 128


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like this one, if any is."""
    import difflib  # Only a mistake pays for it.

    by_lower = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word[:WORD_CHARS_MAX].lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint, or nothing when no known word is near."""
    found = closest(word, known)
    return f"did you mean `{found}`?" if found else ""
