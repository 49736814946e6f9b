"""The commands that look after a node, as a user meets them: their help, and each transcript whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mltbctl.care import ServiceGroup
from tests.mltbctl import golden, pictures, surveys
from tests.mltbctl.fake_daemon import FakeDaemon
from tests.mltbctl.surveys import spoilt
from tests.mltbctl.terminal import run_here

Serve = Callable[..., FakeDaemon]
GROUPS = {"service": ServiceGroup}
ALONE = {
    "service": "service",
    "service-both": "service show --user --run-as bot",
    "service-no-such": "service no-such",
    "rotate-no-secret": "secret rotate",
    "key-no-secret": "secret show --viewer",
    "two-keys": "secret show --viewer --admin",
    "doctor-no-daemon": "doctor",
}


@pytest.mark.parametrize("name", sorted(ALONE))
def test_with_no_daemon(name: str, capsys: pytest.CaptureFixture[str], runtime: Path) -> None:
    outcome = run_here(capsys, *ALONE[name].split())
    text = golden.transcript(f"mltbctl {ALONE[name]}", outcome.code, outcome.out, outcome.err)
    golden.check(f"care-{name}", text, hidden=str(runtime))


SURVEYED = {
    "doctor": ("doctor", surveys.healthy()),
    "doctor-node": ("doctor n1", surveys.healthy()),
    "doctor-no-such-node": ("doctor n9", surveys.healthy()),
    "doctor-strict": ("doctor --strict", surveys.healthy()),
    "doctor-trouble": ("doctor --strict", spoilt("facts.n1.disk.fdatasync_ms", 900.0)),
    "doctor-jsonl": ("doctor n3 -o jsonl", spoilt("facts.n3", None)),
    "doctor-counted": ("-v doctor n1", spoilt("facts.n1.counted", {"gossip.leap": 2, "bus.received": 918})),
    "doctor-json": ("doctor n1 -o json", spoilt("facts.n1.disk.free_percent", 2.0)),
    "reachability": ("reachability", surveys.healthy()),
    "reachability-trouble": ("reachability", spoilt("facts.n3", None)),
    "reachability-relayed": ("reachability", spoilt("facts.n1.heard.n3.link", "down")),
    "reachability-keys": ("reachability", spoilt("facts.n1.heard.n3.link", "refused")),
    "reachability-jsonl": ("reachability -o jsonl", surveys.healthy()),
    "rtt": ("rtt", spoilt("facts.n1.heard.n3.rtt_ms", None)),
}


@pytest.mark.parametrize("name", sorted(SURVEYED))
def test_with_a_survey(name: str, capsys: pytest.CaptureFixture[str], runtime: Path, serve: Serve) -> None:
    command, survey = SURVEYED[name]
    serve(survey=lambda _: survey, status=lambda _: pictures.healthy())
    outcome = run_here(capsys, *command.split())
    text = golden.transcript(f"mltbctl {command}", outcome.code, outcome.out, outcome.err)
    golden.check(f"care-{name}", text, hidden=str(runtime))


@pytest.mark.usefixtures("runtime")
def test_help_of_every_command(capsys: pytest.CaptureFixture[str]) -> None:
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
