"""Style as a test: sizes, banned words, mirrors and what the wheel holds. Excuses are listed, and may only shrink."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FUNCTION_LINES_MAX = 70
MODULE_LINES_MAX = 400
PRODUCT = ("mltbctl", "daemon/mltbd", "transport/mltb_transport")
PACKAGES = {"mltbctl", "mltbd", "mltb_transport"}
TOO_LONG: frozenset[str] = frozenset()
"""Modules above the limit. May only shrink; empty is the aim and the state."""

BANNED = {
    r"\bprint\(.*#\s*debug": "a leftover debug print",
    r"\bbreakpoint\(": "a leftover breakpoint",
    r"\bTODO\b|\bFIXME\b|\bXXX\b": "unfinished work: do it, or refuse with a clear error",
    r"shell=True|os\.system\(": "a shell is never between us and a process",
    r"\bpickle\b": "pickle executes what it reads",
    r"zmq\.asyncio": "the daemon drains sockets itself",
    r"HEARTBEAT_IVL": "ZMTP heartbeats can abort the process; heartbeats are the application's",
}
# MLTB runs `pkill -9 -f` with these patterns: a file of ours whose path matched would be killed with its process.
MLTB_KILLS = re.compile(r"gunicorn|aria2c|qbittorrent-nox|ffmpeg|rclone|java|sabnzbdplus|7z|split")


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


PRODUCT_FILES = python_files(*PRODUCT)
ALL_FILES = PRODUCT_FILES + python_files("tests", "bench")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", ALL_FILES, ids=name_of)
def test_modules_and_functions_stay_small(path: Path) -> None:
    source = path.read_text()
    lines = source.count("\n")
    if name_of(path) in TOO_LONG:
        assert lines > MODULE_LINES_MAX, "it is short enough now: take it off the list"
    else:
        assert lines <= MODULE_LINES_MAX, f"{lines} lines, {MODULE_LINES_MAX} are the limit"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= FUNCTION_LINES_MAX, f"{node.name} has {length} lines, {FUNCTION_LINES_MAX} are the limit"


@pytest.mark.parametrize("path", PRODUCT_FILES, ids=name_of)
def test_a_module_opens_by_saying_what_belongs_in_it(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "no module docstring"
    if path.name == "__init__.py":
        assert len(tree.body) == 1, "an __init__ holds its docstring alone"


@pytest.mark.parametrize("path", PRODUCT_FILES, ids=name_of)
def test_no_banned_words(path: Path) -> None:
    source = path.read_text()
    for pattern, why in BANNED.items():
        found = re.search(pattern, source)
        assert not found, f"`{found.group() if found else ''}`: {why}"


WAITING = {
    "tests/waiting.py": "polls a condition of the real world, with a deadline",
    "tests/transport/nodes.py": "the same inside an event loop",
    "tests/e2e/recorder.py": "a workload that stamps every 2 ms",
    "tests/e2e/chaos.py": "pauses between faults",
}


def test_tests_do_not_sleep() -> None:
    """Scripts that tests hand to child processes may; a test itself waits for something."""
    sleepers = set()
    for path in python_files("tests"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and ast.unparse(node.func).endswith(".sleep")
                and ast.unparse(node) != "asyncio.sleep(0)"
            ):
                sleepers.add(name_of(path))
    assert sleepers == set(WAITING)


def test_no_process_of_ours_is_killed_by_the_bot_it_runs() -> None:
    for path in PRODUCT_FILES:
        assert not MLTB_KILLS.search(name_of(path)), path
    assert not MLTB_KILLS.search("mltbd run --config /etc/mltb/mltb.toml --state-dir /var/lib/mltb")
    assert not MLTB_KILLS.search("python3 -m mltbd.main daemon --preset full_ha")


def test_the_wheel_holds_exactly_our_three_packages(tmp_path: Path) -> None:
    script = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    built = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    with zipfile.ZipFile(tmp_path / built.stdout.strip().splitlines()[-1]) as wheel:
        names = wheel.namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.startswith("mltbctl-")} == PACKAGES
    assert {name for name in names if name.endswith("/py.typed")} == {f"{package}/py.typed" for package in PACKAGES}


def test_a_script_that_uses_the_sdk_sees_its_types(tmp_path: Path) -> None:
    """From elsewhere, with the installed packages: as a user's mypy does."""
    script = tmp_path / "script.py"
    script.write_text("from mltbctl.client import Client\n\nreveal_type(Client().state.get('k'))\n")
    mypy = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", str(tmp_path / "cache")]
    checked = subprocess.run([*mypy, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
    assert '"mltbctl.store_client.Entry | None"' in checked.stdout
