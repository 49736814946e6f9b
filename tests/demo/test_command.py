"""`run_demo` before anything starts: limits, and what must be installed."""

from __future__ import annotations

import sys

import pytest

from mltbctl.commands.demo import run_demo
from mltbctl.errors import CliError
from mltbctl.result import ExitCode, Style


@pytest.mark.parametrize("package", ["telegram", "aiohttp"])
def test_without_the_extra_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    # None there is how Python itself marks a module that cannot be imported.
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(CliError, match=f"needs the package `{package}`") as raised:
        run_demo(3, "primary", 1, False, "json", Style())
    assert raised.value.hint == "run `pip install 'mltbctl[demo]'`"
    assert raised.value.exit_code == ExitCode.FAILED


@pytest.mark.parametrize(
    ("nodes", "kill", "rounds", "named"),
    [
        (0, "primary", 1, "--nodes 0"),
        (8, "none", 1, "--nodes 8"),
        (3, "all", 1, "--kill all"),
        (3, "none", 0, "--rounds 0"),
    ],
)
def test_values_outside_the_limits_are_usage_errors(nodes: int, kill: str, rounds: int, named: str) -> None:
    with pytest.raises(CliError, match=f"`{named}`") as raised:
        run_demo(nodes, kill, rounds, False, "json", Style())
    assert raised.value.exit_code == ExitCode.USAGE
