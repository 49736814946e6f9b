"""How a checker says that a promise was broken, or that it cannot know."""

from __future__ import annotations


class Wrong(Exception):
    """Raised by a checker at the first contradiction."""


class Undecided(Exception):
    """Raised by a checker that cannot know."""
