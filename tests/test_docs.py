"""What is written for people agrees with the code: options, commands, exit codes, messages, links."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mltb_transport.messages import COMMANDS, KINDS
from mltbctl.result import ExitCode
from mltbd.config.options import NOT_BUILT, OPTIONS
from tests.mltbctl.terminal import environment, run_here

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
OPTIONS_MD = (ROOT / "daemon" / "OPTIONS.md").read_text()
GROUPS = ("config", "secret", "lock", "state", "service")
TRANSPORT_MD = (ROOT / "transport" / "DESIGN.md").read_text()
DOCUMENTS = sorted(
    path for pattern in ("*.md", "daemon/*.md", "transport/*.md", "tests/**/*.md") for path in ROOT.glob(pattern)
)


def rows(text: str) -> list[list[str]]:
    """The cells of every line of a Markdown table."""
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line[:1] == "|"]


def test_the_reference_of_options_is_what_make_docs_writes(tmp_path: Path) -> None:
    fresh = tmp_path / "OPTIONS.md"
    generator = ROOT / "daemon" / "generate_options.py"
    subprocess.run([sys.executable, str(generator), str(fresh)], env=environment(), check=True, timeout=60)
    assert fresh.read_text() == OPTIONS_MD, "daemon/OPTIONS.md is out of date: run `make docs`"


def test_each_option_has_one_row_that_says_all_of_it() -> None:
    found = {row[0].strip("` |"): row for row in rows(OPTIONS_MD) if row[0].startswith("| `") or row[0].startswith("`")}
    assert list(found) == [row[0].strip("` |") for row in rows(OPTIONS_MD) if "`" in row[0]], "twice"
    assert set(found) == set(OPTIONS)
    for name, (_, kind, default, doc, built) in found.items():
        option = OPTIONS[name]
        assert all(f"`{choice}`" in kind for choice in option.choices)
        assert kind.startswith(option.kind) or option.choices
        assert option.doc in doc
        assert (default == "derived") is (option.default is None)
        assert built.strip(" |") == ("yes" if option.built else f"no: {option.feature}")


def test_what_is_not_built_is_said_in_the_reference() -> None:
    for feature in NOT_BUILT:
        assert f"## {feature[:1].upper()}{feature[1:]} (not built)" in OPTIONS_MD


def test_options_named_in_the_readme_exist() -> None:
    named = set(re.findall(r"\b(?:CLUSTER|FAILOVER|REPLICATION|DISTRIBUTED|HEALTH|HA)_[A-Z_]+\b", README))
    assert named
    assert named <= set(OPTIONS)


def test_commands_named_in_the_readme_exist_and_every_command_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    listed = help_of(capsys)
    named = set(re.findall(r"\bmltbctl ([a-z][a-z-]*)", README)) - {"on", "and", "from"}
    assert named >= {"status", "switchover", "failover", "config", "secret", "help"}
    assert named <= set(listed), f"{named - set(listed)} in README.md is no command"
    from mltbctl.cli import Root

    assert set(listed) == {name for name, member in Root.members.items() if not member.alias}
    assert all(listed.values()), "each with a line of words"


def help_of(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """The commands in `mltbctl --help`, and what is said of each."""
    told = run_here(capsys, "--help").out.partition("Commands:\n")[2]
    found = re.findall(r"^  ([a-z][a-z-]*) {2,}(\S.*)$", told, re.MULTILINE)
    return dict(found)


def test_subcommands_named_in_the_readme_exist(capsys: pytest.CaptureFixture[str]) -> None:
    for group in GROUPS:
        named = set(re.findall(rf"\bmltbctl {group} ([a-z]+)", README))
        assert named
        for command in named:
            assert run_here(capsys, group, command, "--help").code == 0, f"mltbctl {group} {command}"


def test_every_option_typed_in_the_readme_exists(capsys: pytest.CaptureFixture[str]) -> None:
    typed = re.findall(r"\bmltbctl ([a-z]+)((?: [a-z/0-9]+)*)((?: -{1,2}[a-z-]+(?: [a-z0-9_]+)?)+)", README)
    assert typed
    for command, following, flags in typed:
        for flag in re.findall(r"--[a-z-]+", flags):
            words = [command, following.split()[0]] if command in GROUPS else [command]
            told = run_here(capsys, *words, "--help").out
            assert flag in told, f"mltbctl {command} has no {flag}"


def test_every_exit_code_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    told = run_here(capsys, "help", "exit-codes").out
    explained = {int(code): words for code, words in re.findall(r"^ *(\d+) +(\S.*)$", told, re.MULTILINE)}
    assert explained == {int(code): code.meaning for code in ExitCode}
    assert set(explained) == {*range(9), 130}
    assert len(set(explained.values())) == len(explained)


def test_every_kind_of_message_is_in_the_design_of_the_transport() -> None:
    table = {row[0].strip("| "): row[1] for row in rows(TRANSPORT_MD) if row[0].strip("| ").isdigit()}
    assert {int(number): name for number, name in table.items()} == {
        number: kind.__name__ for number, kind in KINDS.items()
    }
    assert COMMANDS


def test_every_module_of_the_transport_is_in_its_design() -> None:
    modules = {path.name for path in (ROOT / "transport" / "mltb_transport").glob("*.py")} - {"__init__.py"}
    named = set(re.findall(r"`([a-z_]+\.py)`", TRANSPORT_MD))
    assert modules <= named, f"not described: {modules - named}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
        assert (path.parent / target).exists(), f"{target} in {path.name}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_make_targets_named_exist(path: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^    )make ([a-z]+)", path.read_text(), re.MULTILINE))
    assert named <= targets, named - targets
