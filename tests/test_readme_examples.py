"""The examples of the README run as they stand: against the in-memory store here, against real nodes end to end."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from mltbctl.client import Client
from tests.mltbctl import pictures
from tests.mltbctl.conftest import runtime, serve, store
from tests.mltbctl.fake_store import FakeStore
from tests.mltbctl.terminal import environment, run_here, run_process

__all__ = ["runtime", "serve", "store"]

README = (Path(__file__).parent.parent / "README.md").read_text()


def section(heading: str) -> str:
    """The text under a heading."""
    return README.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def commands() -> list[list[str]]:
    """What is typed in the section on locks and state, in order, without `mltbctl` and without the remarks."""
    lines = re.findall(r"^    mltbctl (.*)$", section("Locks and state"), re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines]


def program() -> str:
    """The example in Python."""
    found = re.search(r"```python\n(.*?)```", section("From Python"), re.DOTALL)
    assert found
    return found.group(1)


def test_the_commands(store: FakeStore, runtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    del store
    told = {}
    for words in commands():
        if words[:2] == ["lock", "run"]:
            outcome = run_process(*words, environ=environment(MLTB_RUNTIME_DIR=str(runtime)))
        else:
            outcome = run_here(capsys, *words)
        assert outcome.code == 0, (words, outcome)
        told[" ".join(words[:2])] = outcome.out
    assert told["lock run"] == "backing up with token 1\n"
    assert told["state get"] == '{"parallel": 4}\n'
    assert told["state cas"].startswith("jobs/limits   version 2")
    assert told["state watch"].count("\n") == 2


def test_the_program(store: FakeStore, capsys: pytest.CaptureFixture[str]) -> None:
    store.daemons[0].answers["status"] = lambda _: pictures.healthy()
    names: dict[str, Any] = {}
    exec(compile(program(), "README.md", "exec"), names)
    assert capsys.readouterr().out.splitlines() == ["n1", "1 jobs/next {'id': 7}", "2 jobs/next {'id': 8}"]
    with Client() as node:
        written = node.state.get("deployed/by")
    assert written is not None
    assert written.value == names["lock"].token
