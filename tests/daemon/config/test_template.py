"""The file that `config init` writes: valid as it stands, valid when filled in, and every built option is in it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from mltbd.config.options import OPTIONS
from mltbd.config.presets import PRESETS
from mltbd.config.template import toml_for, toml_value
from tests.daemon.config.machines import keys, loaded, settings

every = pytest.mark.parametrize("name", PRESETS)
SECRETS = (
    "CLUSTER_SECRET", "CLUSTER_SECRET_FILE", "CLUSTER_SECRET_SECOND", "HA_ENCRYPTION_ENABLED", "CLUSTER_ADDRESS",
)  # fmt: skip
"""What cannot be filled in with an example and be valid on any machine."""


def filled_in(text: str) -> str:
    """The file with the marks taken away from all options but those about the secret, and from the workload."""
    lines = []
    for line in text.splitlines():
        bare = line.removeprefix("# ")
        name = bare.split(" ")[0]
        is_workload = name in ("command", "cwd", "env", "stop_timeout", "preferred", "[workload.main]")
        lines.append(bare if (name in OPTIONS and name not in SECRETS and " = " in bare) or is_workload else line)
    return "\n".join(lines)


@every
def test_the_file_validates_as_it_stands_and_is_the_preset(name: str, tmp_path: Path) -> None:
    text = toml_for(PRESETS[name])
    by_file, by_flag = loaded(toml=text, folder=tmp_path), loaded(preset=name)
    assert tomllib.loads(text) == {"preset": name}
    assert settings(by_file) == settings(by_flag)


@every
def test_the_file_validates_when_it_is_filled_in(name: str, tmp_path: Path) -> None:
    text = filled_in(toml_for(PRESETS[name]))
    found = loaded(toml=text, folder=tmp_path)
    assert keys(found) == []
    assert settings(found).workloads[0].argv == ("python3", "-m", "bot")
    built = {option.name for option in OPTIONS.values() if option.built}
    assert set(tomllib.loads(text)) - {"preset", "workload"} == built - set(SECRETS)


@every
def test_no_option_that_is_not_built_is_offered(name: str) -> None:
    text = toml_for(PRESETS[name])
    offered = {line.removeprefix("# ").split(" = ")[0] for line in text.splitlines() if " = " in line}
    assert not offered & {option.name for option in OPTIONS.values() if not option.built}
    assert offered >= set(SECRETS)


@pytest.mark.parametrize("value", [True, False, 0, 7946, 0.5, 15.0, 'a"b\\c\tü', ("a:1", "b:2"), ()])
def test_values_survive_a_round_trip_through_toml(value: bool | int | float | str | tuple[str, ...]) -> None:
    back = tomllib.loads(f"x = {toml_value(value)}")["x"]
    assert (tuple(back) if isinstance(back, list) else back) == value


def test_none_has_no_form() -> None:
    with pytest.raises(TypeError):
        toml_value(None)
