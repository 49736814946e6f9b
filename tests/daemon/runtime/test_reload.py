"""SIGHUP: what is taken over in place, what starts the daemon anew, what is refused; a wrong file changes nothing."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from mltbd.config.options import OPTIONS
from mltbd.config.settings import Loaded
from mltbd.runtime.reload import IN_PLACE, WITH_GUARD, Origin, Reloader, differing
from tests.daemon.config.machines import SECRET, loaded

BOT = '[workload.main]\ncommand = ["bot"]\n'
BEFORE = ("CLUSTER_NODE_ID=n1", "CLUSTER_ADDRESS=127.0.0.1")


@pytest.fixture(autouse=True)
def level() -> Iterator[None]:
    root = logging.getLogger()
    before = root.level
    yield
    root.setLevel(before)


class Reloaded:
    """One reload from a plain configuration to another."""

    def __init__(self, folder: Path, *sets: str, toml: str = BOT) -> None:
        old = loaded(*BEFORE, toml=BOT, folder=folder)
        self.anew = 0
        self.kept: list[bytes] = []
        self.read: list[Loaded] = []

        def again() -> Loaded:
            self.read.append(loaded(*BEFORE, *sets, toml=toml, folder=folder))
            return self.read[-1]

        self.reloader = Reloader(Origin(old, again), self.kept.append, self._anew)
        self.words = self.reloader.reload()

    def _anew(self) -> None:
        self.anew += 1


def test_the_options_named_exist() -> None:
    assert set(OPTIONS) >= IN_PLACE | WITH_GUARD - {"the names of workloads"}


def test_nothing_changed(tmp_path: Path) -> None:
    done = Reloaded(tmp_path)
    assert (done.words, done.anew) == ("reloaded: nothing has changed", 0)


def test_a_configuration_that_cannot_be_looked_at_changes_nothing(tmp_path: Path) -> None:
    def again() -> Loaded:
        raise OSError(errno.EIO, "disk lost")

    kept: list[bytes] = []
    reloader = Reloader(Origin(loaded(*BEFORE), again), kept.append, lambda: pytest.fail("nothing to start anew for"))
    assert (reloader.reload(), kept) == ("nothing reloaded: [Errno 5] disk lost", [])
    done = Reloaded(tmp_path, f"CLUSTER_SECRET_FILE=/{'a' * 300}")
    assert (done.words, done.anew) == ("nothing reloaded: the configuration is invalid", 0)


def test_the_level_of_the_log_is_taken_over_in_place(tmp_path: Path) -> None:
    done = Reloaded(tmp_path, "HA_LOG_LEVEL=ERROR")
    assert (done.words, done.anew) == ("reloaded: HA_LOG_LEVEL", 0)
    assert logging.getLogger().level == logging.ERROR
    assert done.reloader.reload() == "reloaded: nothing has changed", "compared with what runs now"


@pytest.mark.parametrize(
    ("sets", "toml", "named"),
    [
        (("CLUSTER_NODE_PRIORITY=7",), BOT, "CLUSTER_NODE_PRIORITY"),
        (("FAILOVER_MODE=manual",), BOT, "FAILOVER_MODE"),
        ((f"CLUSTER_SECRET={SECRET}",), BOT, "CLUSTER_SECRET"),
        ((), BOT.replace("bot", "better"), "workload.main"),
        ((), BOT + '[[check]]\nkind = "disk"\npath = "/"\n', "check.disk"),
    ],
)
def test_other_changes_start_the_daemon_anew(tmp_path: Path, sets: tuple[str, ...], toml: str, named: str) -> None:
    done = Reloaded(tmp_path, *sets, toml=toml)
    assert done.anew == 1
    assert named in done.words
    assert SECRET not in done.words


@pytest.mark.parametrize(
    ("sets", "toml", "named"),
    [
        (("CLUSTER_PORT=7000",), BOT, "CLUSTER_PORT"),
        (("CLUSTER_LEASE_DURATION=2", "CLUSTER_NODE_PRIORITY=7"), BOT, "CLUSTER_LEASE_DURATION"),
        (("CLUSTER_ROLE=witness",), BOT, "CLUSTER_ROLE"),
        ((), BOT.replace("main", "other"), "the names of workloads"),
    ],
)
def test_what_the_guard_counts_on_changes_nothing(tmp_path: Path, sets: tuple[str, ...], toml: str, named: str) -> None:
    done = Reloaded(tmp_path, *sets, toml=toml)
    assert (done.words, done.anew) == (f"nothing reloaded: {named} can change in a restart only", 0)


def test_a_wrong_file_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    done = Reloaded(tmp_path, "HA_LOG_LEVEL=ERROR", toml="nonsense")
    assert (done.words, done.anew) == ("nothing reloaded: the configuration is invalid", 0)
    assert logging.getLogger().level != logging.ERROR
    assert "mltb.toml" in caplog.text or "TOML" in caplog.text


@pytest.mark.parametrize(
    ("sets", "toml", "kept"),
    [
        ((), f"# Better.\n{BOT}", True),
        (("HA_LOG_LEVEL=ERROR",), BOT, True),
        ((), BOT.replace("bot", "better"), True),
        ((), BOT.replace("main", "other"), False),
        ((), "nonsense", False),
    ],
)
def test_the_guard_keeps_what_is_taken_over(tmp_path: Path, sets: tuple[str, ...], toml: str, kept: bool) -> None:
    assert Reloaded(tmp_path, *sets, toml=toml).kept == ([toml.encode()] if kept else [])


def test_differences_are_named_as_the_operator_knows_them(tmp_path: Path) -> None:
    old = loaded(toml=BOT, folder=tmp_path)
    assert differing(old, old) == []
    assert "CLUSTER_NODE_TIMEOUT" in differing(old, loaded("CLUSTER_NODE_TIMEOUT=9", toml=BOT, folder=tmp_path))


def test_a_singleton_that_is_none_any_more_has_another_name_and_takes_a_restart(tmp_path: Path) -> None:
    old = loaded("HA_STRATEGY=active_active", toml=BOT, folder=tmp_path)
    new = loaded("HA_STRATEGY=active_active", toml=BOT + "singleton = false\n", folder=tmp_path)
    assert differing(old, new) == ["the names of workloads"]
