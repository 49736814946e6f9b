"""The commands that look after a node, as a user meets them: their help, and each transcript whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from mltbctl.care import ServiceGroup
from tests.mltbctl import golden
from tests.mltbctl.terminal import run_here

GROUPS = {"service": ServiceGroup}
ALONE = {
    "service": "service",
    "service-both": "service show --user --run-as bot",
    "service-no-such": "service no-such",
    "rotate-no-secret": "secret rotate",
    "key-no-secret": "secret show --viewer",
    "two-keys": "secret show --viewer --admin",
}


@pytest.mark.parametrize("name", sorted(ALONE))
def test_with_no_daemon(name: str, capsys: pytest.CaptureFixture[str], runtime: Path) -> None:
    outcome = run_here(capsys, *ALONE[name].split())
    text = golden.transcript(f"mltbctl {ALONE[name]}", outcome.code, outcome.out, outcome.err)
    golden.check(f"care-{name}", text, hidden=str(runtime))


def test_help_of_every_command(capsys: pytest.CaptureFixture[str], runtime: Path) -> None:  # noqa: ARG001
    parts = []
    for name in [f"{group} {name}" for group, members in GROUPS.items() for name in members.members]:
        told = run_here(capsys, *name.split(), "--help")
        assert (told.code, told.err) == (0, "")
        parts.append(f"$ mltbctl {name} --help\n{told.out}\n")
    golden.check("care-help", "".join(parts))


def test_summaries_fit_one_line() -> None:
    for members in GROUPS.values():
        for name, member in members.members.items():
            assert len(member.summary) <= 66, f"the summary of `{name}` wraps in the list of commands"
