"""How a checker says that a promise was broken, or that it cannot know; and the plant that must count as neither."""

from __future__ import annotations

from pathlib import Path

ROOT = str(Path(__file__).parents[2])


class Wrong(Exception):
    """Raised by a checker at the first contradiction."""


class Undecided(Exception):
    """Raised by a checker that cannot know."""


class PlantRaised(AssertionError):
    """A planted bug stumbled over its own code: nothing of what it was to show has happened."""


def refuse_own_fault(error: Exception) -> None:
    """Raises PlantRaised when this comes from a plant itself: out of its own lines, or by the way it is called."""
    trace, innermost = error.__traceback__, ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        innermost = file if file.startswith(ROOT) and "site-packages" not in file else innermost
        trace = trace.tb_next
    misfits = isinstance(error, TypeError) and "<locals>" in str(error)  # What stands in for a rule is a closure.
    if misfits or Path(innermost).name.startswith("planted"):
        raise PlantRaised(f"the plant itself raised {type(error).__name__}: {error}") from error
