"""What goes into the image: all that it is built from, and no secret."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

import pytest

from tests.deploy.manifests import DEPLOY, compose

ROOT = DEPLOY.parent
SECRETS = ("cluster_secret", ".cluster_secret.new")
"""As compose.yaml has it, and as `mltbctl secret rotate` has it for a moment."""


def patterns() -> list[str]:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def sent(path: str) -> bool:
    """Whether Docker sends this file: the last pattern that fits it, or a folder it is in, decides."""
    whole = PurePosixPath(path)
    names = [whole, *whole.parents][:-1]
    sends = True
    for pattern in patterns():
        wanted = pattern.removeprefix("!")
        if any(_fits(name, wanted) for name in names):
            sends = pattern != wanted
    return sends


def _fits(name: PurePosixPath, pattern: str) -> bool:
    """`**/` stands for any folders, or none; `*` for no more than one name."""
    parts = pattern.removeprefix("**/").split("/")
    assert "**" not in parts, "this test does not know what that means"
    if not pattern.startswith("**/") and len(name.parts) != len(parts):
        return False
    return len(name.parts) >= len(parts) and all(map(fnmatchcase, name.parts[-len(parts) :], parts))


def files() -> Iterator[str]:
    """What lies in the context, but for what is hidden."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(folder, name).relative_to(ROOT).as_posix() for name in names)


def wheel_of(source: Path, folder: Path) -> set[str]:
    """The names in the wheel that is built from there, as `pip install` does."""
    build = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    folder.mkdir()
    subprocess.run([sys.executable, "-c", build, str(folder)], cwd=source, capture_output=True, check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        return set(opened.namelist())


def test_the_context_is_the_folder_that_says_what_is_sent() -> None:
    contexts = {(DEPLOY / service["build"]["context"]).resolve() for service in compose()["services"].values()}
    assert contexts == {ROOT}


@pytest.mark.parametrize("name", SECRETS)
def test_the_secret_is_neither_sent_nor_kept_in_git(name: str) -> None:
    assert Path(compose()["secrets"]["cluster_secret"]["file"]) == Path(SECRETS[0])
    assert not sent(f"deploy/{name}")
    ignored = [line for line in (ROOT / ".gitignore").read_text().splitlines() if "/" in line]
    assert any(_fits(PurePosixPath(f"deploy/{name}"), pattern) for pattern in ignored)


@pytest.mark.parametrize(
    "path",
    ["secret", "mltb.toml", "state/journal", "deploy/mltb.toml", ".git/config", ".venv/pyvenv.cfg", "tests/conftest.py",
     "mltbctl/commands/__pycache__/init.pyc", "daemon/DESIGN.md"],
)  # fmt: skip
def test_nothing_is_sent_that_is_not_named(path: str) -> None:
    assert not sent(path)


def test_the_image_can_be_built_from_what_is_sent(tmp_path: Path) -> None:
    context = tmp_path / "context"
    for path in filter(sent, files()):
        (context / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, context / path)
    assert wheel_of(context, tmp_path / "sent") == wheel_of(ROOT, tmp_path / "whole")
