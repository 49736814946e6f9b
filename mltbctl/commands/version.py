"""`mltbctl version`: which release this is."""

from __future__ import annotations

from mltbctl.result import Result

DISTRIBUTION = "mltbctl"


def version() -> Result:
    """The version of the installed distribution."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        number = installed(DISTRIBUTION)
    except PackageNotFoundError:
        number = "unknown"  # Run from a checkout that was never installed.
    return Result({"version": number}, f"mltbctl {number}")
