"""The completion scripts in the package are the ones typer makes now, they are installed, and a shell completes."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.mltbctl.terminal import environment

ROOT = Path(__file__).parent.parent
SCRIPTS = {
    "bash": ("mltbctl.bash", "share/bash-completion/completions/mltbctl"),
    "zsh": ("_mltbctl", "share/zsh/site-functions/_mltbctl"),
    "fish": ("mltbctl.fish", "share/fish/vendor_completions.d/mltbctl.fish"),
}
DEADLINE_S = 60.0
# What each shell does on Tab, with the line typed so far in $LINE; what it would offer goes to stdout.
ASK = {
    "bash": """
        source {script}
        complete -p mltbctl >/dev/null || exit 9
        read -ra COMP_WORDS <<<"$LINE"
        [[ "$LINE" == *" " ]] && COMP_WORDS+=("")
        COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
        _mltbctl_completion mltbctl
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """,
    "zsh": """
        compdef() {{ known="$*" }}
        _arguments() {{ print -r -- "$@" }}
        source {script}
        [[ $known == "_mltbctl_completion mltbctl" ]] || exit 9
        words=(${{=LINE}}); CURRENT=$#words
        _mltbctl_completion
    """,
    "fish": "source {script}; complete --do-complete $LINE | string split -f1 \\t",
}


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A PATH with `mltbctl` as this checkout has it, whatever is installed."""
    shim = tmp_path / "bin" / "mltbctl"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m mltbctl "$@"\n')
    shim.chmod(0o755)
    return f"{shim.parent}:/usr/local/bin:/usr/bin:/bin"


def offers(shell: str, line: str, path: str) -> set[str]:
    """What this shell offers after this line and Tab. Skips where the shell is not installed."""
    binary = shutil.which(shell)
    if binary is None:
        pytest.skip(f"{shell} is not installed on this machine, so its completion cannot be tried")
    clean = {"bash": ["--norc", "--noprofile"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    script = shlex.quote(str(ROOT / "completions" / SCRIPTS[shell][0]))
    done = subprocess.run(
        [binary, *clean, "-c", ASK[shell].format(script=script)],
        env=environment(PATH=path, LINE=line), capture_output=True, text=True, timeout=DEADLINE_S,
        stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return set(re.findall(r'"([a-z-]+)":', done.stdout) if shell == "zsh" else done.stdout.split())


def test_they_are_what_typer_makes_now(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, str(ROOT / "completions" / "generate.py"), str(tmp_path)],
        env=environment(), check=True, timeout=DEADLINE_S,
    )  # fmt: skip
    assert {path.name for path in tmp_path.iterdir()} == {name for name, _ in SCRIPTS.values()}
    for name, _ in SCRIPTS.values():
        fresh, kept = (tmp_path / name).read_text(), (ROOT / "completions" / name).read_text()
        assert kept == fresh, f"completions/{name} is out of date: run `make completions`"


def test_zsh_is_told_what_its_file_is_for_in_the_first_line() -> None:
    assert (ROOT / "completions" / "_mltbctl").read_text().startswith("#compdef mltbctl\n")


@pytest.mark.parametrize("shell", SCRIPTS)
def test_a_shell_completes_commands_and_options(shell: str, path: str) -> None:
    assert offers(shell, "mltbctl statu", path) == {"status"}
    assert offers(shell, "mltbctl fail", path) == {"failover", "failback"}
    assert offers(shell, "mltbctl status --wat", path) == {"--watch"}


def test_bash_completes_nothing_where_nothing_fits(path: str) -> None:
    assert offers("bash", "mltbctl nosuch", path) == set()


def test_the_wheel_installs_each_where_its_shell_looks(tmp_path: Path) -> None:
    build = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    built = subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    with zipfile.ZipFile(tmp_path / built.stdout.strip().splitlines()[-1]) as wheel:
        shared = {name.partition(".data/data/")[2]: name for name in wheel.namelist() if ".data/" in name}
        assert set(shared) == {target for _, target in SCRIPTS.values()}
        for name, target in SCRIPTS.values():
            assert wheel.read(shared[target]).decode() == (ROOT / "completions" / name).read_text()
