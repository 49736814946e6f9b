"""`mltbd` as it is typed: arguments, exit codes, the version, and how little the guard process loads."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mltb_transport.keys import new_secret
from mltb_transport.limits import RELEASE
from mltbd.main import main
from tests.mltbctl.terminal import environment

DEADLINE_S = 30.0
HEAVY = {"asyncio", "zmq", "msgpack", "typer", "rich", "platformdirs", "tomllib", "logging", "sqlite3", "threading"}
"""What the guard process, which has to stay small and to outlive every bug of ours, does without."""
OURS = re.compile(r"(mltbd|mltb_transport|mltbctl)\b")
GUARD_MODULES = {
    "alarm", "cages", "config", "daemon_child", "guard", "hooks", "main", "orders", "processes", "runs", "say",
    "sentinel", "spawn", "supervisor", "tenancy", "tree",
}  # fmt: skip


def mltbd(*words: str, flags: tuple[str, ...] = (), **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", *flags, "-m", "mltbd.main", *words],
        env=environment(**environ),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def test_the_version_is_that_of_the_release(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"mltbd {RELEASE}\n"


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_names_what_an_operator_types(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    if arguments:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 0
    else:
        assert main(arguments) == 0
    told = capsys.readouterr().out
    assert "run" in told
    assert "--version" in told
    assert "daemon" not in told, "the guard starts it; nobody types it"


def test_help_of_run_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", "--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    for option in ("--config", "--preset", "--set", "--state-dir", "--runtime-dir"):
        assert option in told


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["walk"], "invalid choice: 'walk'"),
        (["run", "--prese", "full_ha"], "unrecognized arguments: --prese"),
        (["run", "--config"], "expected one argument"),
        (["run", "n1"], "unrecognized arguments: n1"),
        (["--vers"], "unrecognized arguments: --vers"),
    ],
)
def test_what_is_mistyped_is_usage(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    caught = capsys.readouterr()
    assert caught.out == ""
    assert words in caught.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--set", "CLUSTER_ENABLED=1", "--set", "CLUSTER_PORT=x"), "error: CLUSTER_PORT: "),
        (("--set", "CLUSTER_ENABLED=1", "--set", "CLUSTER_PROT=7946"), "CLUSTER_PROT"),
        (("--preset", "full"), "hint: "),
        (("--config", "nowhere.toml"), "nowhere.toml"),
        ((), "error: CLUSTER_ENABLED is False"),
    ],
)
@pytest.mark.parametrize("command", ["run", "daemon"])
def test_an_invalid_configuration_ends_with_2_and_says_why(
    command: str, words: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    config = () if "--config" in words else ("--config", "/dev/null")
    done = mltbd(command, *config, *words, MLTB_STATE_DIR=str(tmp_path / "state"))
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("stderr", ["/dev/full", "&-"])
def test_a_log_that_cannot_be_written_stops_nobody(stderr: str, tmp_path: Path) -> None:
    """Its warnings are lost, and it goes on to what it is there for; here it lacks its guard."""
    words = ["daemon", "--config", "/dev/null", "--preset", "full_ha", "--set", "CLUSTER_NODE_ID=n1"]
    words += ["--state-dir", str(tmp_path / "state"), "--runtime-dir", str(tmp_path / "run")]
    command = ["sh", "-c", f'exec "$@" 2>{stderr}', "sh", sys.executable, "-m", "mltbd.main", *words]
    env = environment(CLUSTER_SECRET=new_secret())
    assert subprocess.run(command, check=False, env=env, timeout=DEADLINE_S).returncode == 3


def test_a_daemon_without_its_guard_is_fatal_and_names_the_right_command(tmp_path: Path) -> None:
    done = mltbd(
        "daemon", "--config", "/dev/null", "--preset", "development", "--set", "HA_MIN_NODES=1",
        "--state-dir", str(tmp_path / "state"), "--runtime-dir", str(tmp_path / "run"),
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "`MLTB_GUARD_FD` is not set: a daemon is started by its guard, use `mltbd run`" in done.stderr
    assert not (tmp_path / "state").exists(), "nothing was touched"


def test_a_module_in_the_current_directory_takes_no_place_of_ours(tmp_path: Path) -> None:
    (tmp_path / "asyncio.py").write_text("raise SystemExit(99)")
    (tmp_path / "platformdirs.py").write_text("raise SystemExit(99)")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "mltbd.main", "run", "--config", "/dev/null", "--state-dir", str(tmp_path / "s")],
        env=environment(), cwd=tmp_path, capture_output=True, text=True, timeout=DEADLINE_S, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr


def loaded_by(done: subprocess.CompletedProcess[str]) -> set[str]:
    """Every module that a process under -X importtime imported."""
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}


def test_the_guard_process_loads_the_standard_library_and_itself(tmp_path: Path) -> None:
    done = mltbd(
        "run", "--config", "/dev/null", "--state-dir", str(tmp_path / "state"), flags=("-S", "-X", "importtime")
    )  # fmt: skip
    modules = loaded_by(done)
    assert "mltbd.guard" in modules, done.stderr
    assert not {name.partition(".")[0] for name in modules} & HEAVY
    ours = {name for name in modules if OURS.match(name)}
    assert {name.split(".")[1] for name in ours if name.startswith("mltbd.")} <= GUARD_MODULES
    assert {name for name in ours if name.startswith("mltbd.config.")} <= {"mltbd.config.paths"}
    assert {name for name in ours if not name.startswith("mltbd")} <= {
        "mltb_transport", "mltb_transport.continuer", "mltb_transport.limits", "mltb_transport.places",
    }  # fmt: skip


def test_help_and_version_load_next_to_nothing() -> None:
    for words in (("--help",), ("--version",), ("run", "--help")):
        modules = loaded_by(mltbd(*words, flags=("-S", "-X", "importtime")))
        assert "argparse" in modules
        assert not {name.partition(".")[0] for name in modules} & HEAVY
        assert "mltbd.guard" not in modules
