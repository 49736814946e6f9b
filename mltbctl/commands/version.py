"""`mltbctl version`: which release this is."""

from __future__ import annotations

from mltb_transport.limits import RELEASE
from mltbctl.result import Result


def version() -> Result:
    """The version of this release."""
    return Result({"version": RELEASE}, f"mltbctl {RELEASE}")
