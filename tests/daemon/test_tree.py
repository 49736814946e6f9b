"""No tree survives any kill path, and its neighbours do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mltbd.cages import Site, sites_here, works
from mltbd.processes import MARK, marked, process, send
from mltbd.tree import clear
from tests.daemon import trees
from tests.daemon.guarded import ROOT, alive, state
from tests.waiting import until

ENV = {**os.environ, "PYTHONPATH": str(ROOT / "daemon")}
WALK = Site("", "walk")
SITES = [WALK, *dict.fromkeys(sites_here())]


def mark() -> str:
    return f"test.{os.urandom(8).hex()}."


def parent(site: Site, argv: list[str], ours: str) -> subprocess.Popen[str]:
    spec = {"mark": ours, "directory": site.directory or None, "path": site.path, "argv": argv}
    started = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("tree_parent.py")), json.dumps(spec)],
        env=ENV, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert started.stdout
    assert started.stdout.readline() == "started\n"
    return started


@pytest.mark.parametrize("site", SITES, ids=lambda site: f"{site.path}:{site.directory}")
@pytest.mark.parametrize("kind", trees.STUBBORN)
def test_nothing_of_a_tree_survives(site: Site, kind: str, tmp_path: Path) -> None:
    if site is not WALK and not works(site, mark()):
        pytest.skip(f"no cgroup with {site.path} may be made under {site.directory}")
    ours = mark()
    with parent(site, trees.STUBBORN[kind](tmp_path), ours) as running:
        ready = tmp_path / "ready"
        until(lambda: ready.exists() and ready.read_text())
        victim = process(int(ready.read_text()))
        said, _ = running.communicate("kill\n", timeout=60)
    outcome = json.loads(said)
    left = [row for row in (*marked(ours), victim) if row and alive(row)]
    for row in left:
        send(row, signal.SIGKILL)
    assert not left
    assert outcome["spared"], "a neighbour was killed"
    assert outcome["took_s"] < 2.0


def test_clear_kills_what_is_marked_and_nothing_else() -> None:
    ours, others = mark(), mark()
    with (
        subprocess.Popen(["sleep", "600"], env={**ENV, MARK: f"{ours}1"}) as doomed,
        subprocess.Popen(["sleep", "600"], env={**ENV, MARK: others}) as spared,
    ):
        until(lambda: marked(ours) and marked(others))
        assert clear(ours, (), 5.0) == set()
        assert doomed.wait() == -signal.SIGKILL
        assert spared.poll() is None
        spared.kill()


def is_headless(base: Path) -> bool:
    ready = base / "ready"
    return ready.exists() and state(int(ready.read_text())) == "Z"


def ended(doomed: subprocess.Popen[bytes]) -> None:
    """It was killed; if not, it is now."""
    try:
        assert doomed.wait(5.0) == -signal.SIGKILL
    finally:
        doomed.kill()


def test_clear_kills_what_is_marked_though_its_first_thread_has_ended(tmp_path: Path) -> None:
    ours = mark()
    with subprocess.Popen(trees.headless(tmp_path), env={**ENV, MARK: f"{ours}1"}) as doomed:
        until(lambda: is_headless(tmp_path))
        clear(ours, (), 5.0)
        ended(doomed)


@pytest.mark.parametrize("headless", [False, True])
@pytest.mark.parametrize("site", dict.fromkeys(sites_here()), ids=lambda site: f"{site.path}:{site.directory}")
def test_clear_empties_and_removes_the_cages_of_another_guard(site: Site, headless: bool, tmp_path: Path) -> None:
    if not works(site, mark()):
        pytest.skip(f"no cgroup with {site.path} may be made under {site.directory}")
    ours = mark()
    cage = site.cage(f"{ours}1")
    cage.create()
    argv = trees.headless(tmp_path) if headless else ["sleep", "600"]
    with subprocess.Popen(argv, env={}, preexec_fn=lambda: cage.adopt(0)) as doomed:
        until(lambda: not headless or is_headless(tmp_path))
        left = clear(ours, [site.directory, "/nonexistent"], 5.0)
        ended(doomed)
    assert not left
    assert not Path(cage.directory).exists()


def test_clear_says_who_does_not_die() -> None:
    # A zombie stays in the table until it is reaped, which nobody does here meanwhile.
    with subprocess.Popen(["true"]) as undead:
        row = until(lambda: process(undead.pid))
        assert clear(mark(), (), 0.05, [row]) == {undead.pid}
