"""The systemd unit: what it says, that systemd reads it, and that writing and removing it harms nothing else."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from mltbctl.commands import service
from mltbctl.commands.service import MARK, PROGRAM, Wish, stop_timeout_s, unit
from mltbd.config.leaving import GUARD_S, LEAVE_S, SERVICE_S, service_s
from tests.mltbctl.terminal import Outcome, run_here

DEPLOY = Path(__file__).parents[3] / "deploy" / "systemd"
DEFAULT_S = service_s(())


@pytest.fixture
def systemctl(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A systemctl that only keeps a diary, and empty directories for units."""
    programs = runtime / "bin"
    programs.mkdir()
    diary = runtime / "diary"
    shim = programs / "systemctl"
    shim.write_text(f'#!/bin/sh\necho "$@" >> {diary}\n[ ! -e {runtime}/broken ] || {{ echo no bus >&2; exit 1; }}\n')
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(runtime / "home"))
    monkeypatch.setattr(service, "SYSTEM_DIRECTORY", runtime / "system")
    return diary


def words(text: str) -> dict[str, str]:
    """KEY=VALUE lines of a unit."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))


@pytest.mark.parametrize(("path", "wish"), [("mltbd.service", Wish()), ("user/mltbd.service", Wish(user=True))])
def test_the_units_to_copy_are_the_ones_that_install_writes(path: str, wish: Wish) -> None:
    assert (DEPLOY / path).read_text() == unit(wish, PROGRAM, DEFAULT_S)


@pytest.mark.parametrize("wish", [Wish(), Wish(run_as="bot"), Wish(config="/srv/my bot/m.toml"), Wish(user=True)])
def test_systemd_reads_it_without_a_complaint(tmp_path: Path, wish: Wish, monkeypatch: pytest.MonkeyPatch) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not on this machine, so nobody reads the unit as systemd does")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    place = tmp_path / "mltbd.service"
    place.write_text(unit(wish, "/bin/true", DEFAULT_S).replace("User=bot", "User=root"))
    user = ["--user"] if wish.user else []
    done = subprocess.run(
        [analyze, *user, "--man=no", "verify", str(place)], capture_output=True, text=True, timeout=60, check=False
    )
    assert [line for line in done.stderr.splitlines() if "mltbd" in line] == []
    assert done.returncode == 0, done.stderr


def test_what_the_design_relies_on() -> None:
    said = words(unit(Wish(), PROGRAM, 41.0))
    assert said["Type"] == "notify"
    assert said["NotifyAccess"] == "main"
    assert said["KillMode"] == "mixed"
    assert said["Delegate"] == "yes"
    assert said["TimeoutStopSec"] == "41"
    assert float(said["WatchdogSec"]) > 0
    assert "ProtectControlGroups" not in said
    assert "ProtectHome" not in said, "bots live there"


@pytest.mark.usefixtures("runtime")
def test_a_stop_may_take_as_long_as_the_configuration_lets_it(tmp_path: Path) -> None:
    assert stop_timeout_s("") == DEFAULT_S
    config = tmp_path / "m.toml"
    moves_s = LEAVE_S + GUARD_S + SERVICE_S
    config.write_text('CLUSTER_ENABLED = true\n[workload.main]\ncommand = ["bot"]\nstop_timeout = 2\n')
    assert stop_timeout_s(str(config)) == 2 * 2 + moves_s, "the guard may have to stop it once more"
    with config.open("a") as more:
        more.write('hooks = { pre_stop = ["bye"], post_stop = ["tidy"], timeout = 15 }\n')
    assert stop_timeout_s(str(config)) == 2 * (2 + 15) + moves_s, "`post_stop` comes after the stop"


def test_a_unit_for_an_invalid_configuration_is_refused(
    capsys: pytest.CaptureFixture[str], systemctl: Path, runtime: Path
) -> None:
    config = runtime / "m.toml"
    config.write_text("CLUSTER_PORT = 0\n")
    for command in ("show", "install"):
        done = run(capsys, command, "--config", str(config))
        assert done.code == 2
        assert "the configuration is invalid: CLUSTER_PORT: " in done.err
        assert f"mltbctl config validate --config {config}" in done.err
    assert not (runtime / "system").exists()
    assert not systemctl.exists()


@pytest.mark.parametrize(
    ("path", "quoted"),
    [("/a b/%m.toml", '"/a b/%%m.toml"'), ("/it's/m.toml", '"/it\'s/m.toml"'), ("/m.toml", "/m.toml")],
)
def test_a_path_that_systemd_would_not_read_as_one_word_is_quoted(path: str, quoted: str) -> None:
    said = words(unit(Wish(config=path), PROGRAM, 1))
    assert said["ExecStart"] == f"{PROGRAM} run --config {quoted}"


def run(capsys: pytest.CaptureFixture[str], *words: str) -> Outcome:
    return run_here(capsys, "service", *words)


def test_install_show_and_uninstall(capsys: pytest.CaptureFixture[str], systemctl: Path, runtime: Path) -> None:
    shown = run(capsys, "show")
    assert shown.code == 0
    assert not systemctl.exists(), "show changes nothing"
    written = run(capsys, "install")
    path = runtime / "system" / "mltbd.service"
    assert written.code == 0
    assert path.read_text() == shown.out
    assert "systemctl enable --now mltbd" in written.err
    assert run(capsys, "install", "--now").code == 0
    assert systemctl.read_text().splitlines() == ["daemon-reload", "daemon-reload", "enable --now mltbd.service"]
    assert run(capsys, "uninstall").code == 3, "nobody confirms here"
    assert path.exists()
    assert run(capsys, "uninstall", "--yes").code == 0
    assert not path.exists()
    assert systemctl.read_text().splitlines()[3:] == ["disable --now mltbd.service", "daemon-reload"]
    assert "nothing to do" in run(capsys, "uninstall", "--yes").out


def test_a_unit_of_ones_own(capsys: pytest.CaptureFixture[str], systemctl: Path, runtime: Path) -> None:
    done = run(capsys, "install", "--user", "--now")
    assert done.code == 0
    assert "enable-linger" in done.err
    assert (runtime / "home/systemd/user/mltbd.service").read_text().startswith(MARK)
    assert systemctl.read_text().splitlines() == ["--user daemon-reload", "--user enable --now mltbd.service"]
    assert run(capsys, "install", "--user", "--run-as", "bot").code == 2


def test_another_user_finds_its_files(capsys: pytest.CaptureFixture[str], systemctl: Path, runtime: Path) -> None:
    done = run(capsys, "install", "--run-as", "bot")
    text = (runtime / "system" / "mltbd.service").read_text()
    assert done.code == 0
    assert "secret file must belong to bot" in done.err
    assert "User=bot\n" in text
    assert "MLTB_STATE_DIR=%S/mltb" in text
    assert run(capsys, "show", "--run-as", "a\nExecStart=x").code == 2
    assert systemctl.exists()


def test_a_unit_of_somebody_else_stays(capsys: pytest.CaptureFixture[str], systemctl: Path, runtime: Path) -> None:
    path = runtime / "system" / "mltbd.service"
    path.parent.mkdir()
    path.write_text("[Unit]\n")
    for command in (["install"], ["uninstall", "--yes"]):
        done = run(capsys, *command)
        assert done.code == 1
        assert "was not made by mltbctl" in done.err
    assert path.read_text() == "[Unit]\n"
    assert not systemctl.exists()


def test_what_systemctl_says_is_passed_on(capsys: pytest.CaptureFixture[str], systemctl: Path, runtime: Path) -> None:
    (runtime / "broken").touch()
    done = run(capsys, "install")
    assert done.code == 1
    assert "error: `systemctl daemon-reload`: no bus" in done.err
    assert systemctl.exists()


def test_a_node_may_take_its_time_to_start_and_to_stop(
    capsys: pytest.CaptureFixture[str], systemctl: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "SYSTEMCTL_S", 0.5)
    shim = runtime / "bin" / "systemctl"
    shim.write_text(f'#!/bin/sh\necho "$@" >> {systemctl}\ncase "$@" in *--now*) sleep 1;; esac\n')
    assert run(capsys, "install", "--now").code == 0
    assert run(capsys, "uninstall", "--yes").code == 0
    shim.write_text("#!/bin/sh\nexec sleep 5\n")
    done = run(capsys, "install")
    assert done.code == 6
    assert "takes longer than 0.5 s" in done.err


def test_without_systemd_nothing_is_written(
    capsys: pytest.CaptureFixture[str], systemctl: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(runtime / "empty"))
    done = run(capsys, "install")
    assert done.code == 1
    assert "no systemctl here" in done.err
    assert not (runtime / "system" / "mltbd.service").exists()
    assert not systemctl.exists()
