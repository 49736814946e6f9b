"""The demo before anything starts: limits, and what must be installed."""

from __future__ import annotations

import sys

import pytest

from mltbctl.commands.demo import run_demo
from mltbctl.demo.cluster import NODES_MAX
from mltbctl.errors import CliError
from mltbctl.result import ExitCode, Style
from tests.mltbctl.terminal import run_here


@pytest.mark.parametrize("package", ["telegram", "aiohttp"])
def test_without_the_extra_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    # None there is how Python itself marks a module that cannot be imported.
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(CliError, match=f"needs the package `{package}`") as raised:
        run_demo(3, "primary", 1, False, "json", Style())
    assert raised.value.hint == "run `pip install 'mltbctl[demo]'`"
    assert raised.value.exit_code == ExitCode.FAILED


@pytest.mark.parametrize(
    ("option", "value"),
    [("--nodes", "0"), ("--nodes", str(NODES_MAX + 1)), ("--kill", "all"), ("--rounds", "0"), ("--rounds", "101")],
)
def test_values_outside_the_limits_are_usage_errors(
    option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told = run_here(capsys, "demo", option, value)
    assert told.code == ExitCode.USAGE
    assert f"invalid value for `{option}`" in told.err
