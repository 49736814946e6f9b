"""What a start may load: the budget of imports, and help that fits where it goes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mltbctl.cli import Root
from mltbctl.lazy import flowing
from tests.mltbctl import pictures
from tests.mltbctl.fake_daemon import FakeDaemon
from tests.mltbctl.terminal import DEADLINE_S, Terminal, environment

_PROBE = """
import sys
from mltbctl.cli import app
try:
    app(sys.argv[1:])
finally:
    print(" ".join(sys.modules), file=sys.stderr)
"""


def loaded(*arguments: str, environ: dict[str, str]) -> set[str]:
    """The top-level and dotted names of all modules a command line imports."""
    done = subprocess.run(
        [sys.executable, "-c", _PROBE, *arguments],
        env=environ,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=True,
    )
    return set(done.stderr.split())


def test_help_loads_no_transport_and_no_boxes() -> None:
    modules = loaded("--help", environ=environment())
    assert not modules & {"zmq", "msgpack", "rich", "asyncio", "logging", "json", "mltbd", "platformdirs", "tomllib"}
    assert "mltbctl.overview" not in modules


def test_status_loads_what_it_needs(serve: Callable[..., FakeDaemon], runtime: Path) -> None:
    serve(status=lambda _: pictures.healthy())
    modules = loaded("status", environ=environment(MLTB_RUNTIME_DIR=str(runtime)))
    assert "mltb_transport.local_peer" in modules
    assert not modules & {
        "zmq",
        "rich",
        "asyncio",
        "logging",
        "mltbd",
        "platformdirs",
        "mltb_transport.schema",
        "concurrent",
    }
    assert "mltbctl.commands.move" not in modules
    assert "mltbctl.bundling" not in modules


@pytest.mark.usefixtures("store")
def test_a_change_needs_no_messages(runtime: Path) -> None:
    modules = loaded("state", "set", "k", "1", environ=environment(MLTB_RUNTIME_DIR=str(runtime)))
    assert "mltbctl.bundling" in modules
    assert not modules & {"asyncio", "mltb_transport.store", "mltb_transport.schema", "concurrent"}


def test_help_has_boxes_on_a_terminal_only() -> None:
    with Terminal("--help", environ=environment()) as terminal:
        assert terminal.end() == 0
        assert "╭─" in terminal.text
        assert "switchover" in terminal.text
    with Terminal("config", "validate", "-h", environ=environment()) as terminal:
        assert terminal.end() == 0
        assert "╭─" in terminal.text


def test_paragraphs_flow() -> None:
    assert flowing("One\ntwo.\n\nThree\n  four.") == "One two.\n\nThree four."
    with Terminal("lock", "run", "--help", environ=environment()) as terminal:
        assert terminal.end() == 0
        lines = [line.strip() for line in terminal.text.splitlines()]
        assert any(line.endswith("Should it be lost, the command") for line in lines)
        assert any(line.startswith("and all it started are dead before: SIGTERM") for line in lines)


@pytest.mark.parametrize("name", ["list"])
def test_aliases_work_and_are_not_listed(name: str) -> None:
    assert Root.members[name].alias
    assert Root.members[name].source is Root.members["nodes"].source
