"""Where files are: a flag wins, then the environment, then the place for root or for a user."""

from __future__ import annotations

from pathlib import Path

import pytest
from platformdirs import user_config_path, user_runtime_path, user_state_path

from mltbd.config.paths import config_file, socket_path, state_dir

FLAG = Path("/flag")


@pytest.mark.parametrize(
    ("flag", "environ", "root", "expected"),
    [
        (FLAG, {"MLTB_CONFIG": "/env"}, True, (FLAG, True)),
        (None, {"MLTB_CONFIG": "/env"}, True, (Path("/env"), True)),
        (None, {"MLTB_CONFIG": ""}, True, (Path("/etc/mltb/mltb.toml"), False)),
        (None, {}, False, (user_config_path("mltb") / "mltb.toml", False)),
    ],
)
def test_the_configuration_file(
    flag: Path | None, environ: dict[str, str], root: bool, expected: tuple[Path, bool]
) -> None:
    assert config_file(flag, environ, root) == expected


@pytest.mark.parametrize(
    ("flag", "environ", "root", "expected"),
    [
        (FLAG, {"MLTB_STATE_DIR": "/env"}, True, FLAG),
        (None, {"MLTB_STATE_DIR": "/env"}, True, Path("/env")),
        (None, {}, True, Path("/var/lib/mltb")),
        (None, {}, False, user_state_path("mltb")),
    ],
)
def test_the_state_directory(flag: Path | None, environ: dict[str, str], root: bool, expected: Path) -> None:
    assert state_dir(flag, environ, root) == expected


@pytest.mark.parametrize(
    ("flag", "environ", "root", "expected"),
    [
        (FLAG, {"MLTB_SOCKET": "/s", "MLTB_RUNTIME_DIR": "/env"}, True, "/flag/mltb/n1.sock"),
        (None, {"MLTB_SOCKET": "/s", "MLTB_RUNTIME_DIR": "/env"}, True, "/s"),
        (None, {"MLTB_RUNTIME_DIR": "/env"}, True, "/env/mltb/n1.sock"),
        (None, {}, True, "/run/mltb/n1.sock"),
    ],
)
def test_the_control_socket(flag: Path | None, environ: dict[str, str], root: bool, expected: str) -> None:
    assert socket_path("n1", flag, environ, root) == Path(expected)


def test_the_control_socket_is_where_it_is_for_whoever_is_elsewhere() -> None:
    here = Path.cwd() / "run"
    assert socket_path("n1", Path("run"), {}) == here / "mltb/n1.sock"
    assert socket_path("n1", None, {"MLTB_RUNTIME_DIR": "run"}) == here / "mltb/n1.sock"
    assert socket_path("n1", None, {"MLTB_SOCKET": "run"}) == here


def test_the_control_socket_of_a_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert socket_path("n1", None, {}, root=False) == user_runtime_path() / "mltb/n1.sock"
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert socket_path("n1", None, {}, root=False).name == "n1.sock"


def test_without_a_word_the_user_who_runs_us_decides() -> None:
    assert state_dir(None, {}) in (Path("/var/lib/mltb"), user_state_path("mltb"))
