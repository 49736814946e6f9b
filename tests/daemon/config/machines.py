"""What the tests of the configuration share: a machine that never changes, and a short way to load."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mltb_transport.keys import new_secret
from mltbd.config.machine import Machine
from mltbd.config.problem import Problem
from mltbd.config.settings import Loaded, Settings, load

SECRET = new_secret()
EMPTY_FILE = Path("/dev/null")


def machine(hostname: str = "box", root: bool = False, route: str | None = "10.0.1.5") -> Machine:
    """A machine whose every route leaves by one address."""
    return Machine(hostname, root, lambda _target: route)


def loaded(
    *sets: str,
    preset: str | None = None,
    toml: str | None = None,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
    on: Machine | None = None,
) -> Loaded:
    """`load` with a file of this content, if any, in `folder`."""
    path = EMPTY_FILE
    if toml is not None:
        assert folder is not None
        path = folder / "mltb.toml"
        path.write_text(toml, encoding="utf-8")
        path.chmod(0o600)
    return load(preset, path, sets, environ or {}, on or machine())


def settings(found: Loaded) -> Settings:
    """The settings of a configuration that has to be valid."""
    assert found.settings is not None, found.problems
    return found.settings


def problem(found: Loaded, key: str, level: str = "error") -> Problem:
    """The one problem of this level and key; fails when there is none or another."""
    matching = [item for item in found.problems if item.key == key and item.level == level]
    assert len(matching) == 1, found.problems
    return matching[0]


def keys(found: Loaded, level: str = "error") -> list[str]:
    """The keys of all problems of a level, in order."""
    return [item.key for item in found.problems if item.level == level]
