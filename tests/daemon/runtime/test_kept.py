"""What a daemon began with outlives it in its guard: a later one goes on with it, whatever has become of the file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from mltbd.orders import DATAGRAM_BYTES_MAX, EXIT_ANEW, FD_VARIABLE, KEPT_CHARS_MAX, channel, encode
from mltbd.runtime.kept import kept, packed, unheeded
from tests.daemon.config.machines import loaded
from tests.daemon.runtime.test_daemon import PATIENCE_S, TOML, Child
from tests.transport.nodes import free_port
from tests.waiting import until

BOT = '[workload.main]\ncommand = ["bot"]\n'


def heard(*reports: dict[str, Any]) -> tuple[bytes | None, list[bytes]]:
    """What is kept by a guard that has reported this, and what is still to be read."""
    guard, theirs = channel()
    with guard, theirs:
        for report in reports:
            guard.send(encode(report))
        found = kept({FD_VARIABLE: str(theirs.fileno())})
        return found, [theirs.recv(DATAGRAM_BYTES_MAX) for _ in reports]


@pytest.mark.parametrize("content", [b"", BOT.encode(), b"\xff" * 1000])
def test_what_is_kept_comes_back_and_the_greeting_stays_to_be_read(content: bytes) -> None:
    hello = {"is": "hello", "restarts": 1, "configuration": packed(content), "workloads": []}
    assert heard(hello) == (content, [encode(hello)])


@pytest.mark.parametrize("hello", [{"is": "hello"}, {"is": "hello", "configuration": ""}])
def test_of_a_guard_that_keeps_none(hello: dict[str, Any]) -> None:
    assert heard(hello) == (None, [encode(hello)])
    assert heard() == (None, []), "it has not greeted yet"
    assert kept({}) is None, "there is no guard"


def test_a_guard_that_is_gone_keeps_none() -> None:
    guard, theirs = channel()
    guard.close()
    with theirs:
        assert kept({FD_VARIABLE: str(theirs.fileno())}) is None


def test_the_largest_that_is_kept_fits_a_greeting() -> None:
    run = {"workload": "w" * 255, "token": 2**63 - 1, "pid": 2**22, "deadline": 123456789.123456, "phase": "stopping"}
    hello = {"is": "hello", "kill_path": "cgroup.kill", "configuration": "x" * KEPT_CHARS_MAX, "workloads": [run] * 64}
    assert len(json.dumps(hello)) < DATAGRAM_BYTES_MAX
    assert len(packed(os.urandom(KEPT_CHARS_MAX * 3 // 4 - 100))) <= KEPT_CHARS_MAX
    assert packed(os.urandom(KEPT_CHARS_MAX)) == ""


@pytest.mark.parametrize(
    ("toml", "words", "hint"),
    [
        ("# Better.\n" + BOT, None, None),
        (BOT.replace("bot", "better"), "was changed and not reloaded (workload.main)", "run `mltbctl service reload`"),
        ("CLUSTER_PORT = 7000\n" + BOT, "not reloaded (CLUSTER_PORT)", "restart the service for CLUSTER_PORT"),
        ("CLUSTER_PORT = [", "is wrong by now", None),
    ],
)
def test_what_is_said_of_a_file_that_does_not_count_yet(
    tmp_path: Path, toml: str, words: str | None, hint: str | None
) -> None:
    was, now = (loaded("CLUSTER_NODE_ID=n1", toml=text, folder=tmp_path) for text in (BOT, toml))
    said = unheeded(was, now)
    assert len(said) == (words is not None) + (hint is not None)
    assert (words or "") in "".join(said[:1])
    assert said[1:] == ([f"hint: {hint}"] if hint else [])


@pytest.mark.parametrize(
    ("cut", "words"),
    [
        ("[workload.main]", "the names of workloads"),
        ("EASE_DURATION", "is wrong by now"),
        ("CLUSTER_NODE_ID", "CLUSTER_NODE_ID"),
        ("CLUSTER_ENABLED", "CLUSTER_ENABLED"),
    ],
)
def test_a_file_that_was_half_written_when_a_daemon_came_back_changes_nothing(
    tmp_path: Path, cut: str, words: str
) -> None:
    whole = TOML.format(port=free_port())
    with Child(tmp_path, 0, kept=whole.encode(), file=whole[: whole.index(cut)]) as child:
        assert child.order("keep")["configuration"] == packed(whole.encode()), "for the next one"
        assert child.order("start")["argv"] == ["bot"]
        assert words in child.log()
        assert "this node goes on with the configuration it had" in child.log()


def test_a_file_written_for_a_later_restart_waits_for_it(tmp_path: Path) -> None:
    whole = TOML.format(port=free_port())
    later = whole.replace("LEASE_DURATION = 1.0", "LEASE_DURATION = 2.0")
    with Child(tmp_path, 0, kept=whole.encode(), file=later) as child:
        assert child.order("hello")["horizon"] < 1.0
        assert "hint: restart the service for CLUSTER_LEASE_DURATION" in child.log()
        child.report(**{"is": "reload"})
        until(lambda: "CLUSTER_LEASE_DURATION can change in a restart only" in child.log(), PATIENCE_S, child.log)
        assert child.process.poll() is None


def test_a_configuration_that_is_kept_but_wrong_by_now_gives_way_to_the_file(tmp_path: Path) -> None:
    """A newer release may want another one."""
    whole = TOML.format(port=free_port())
    with Child(tmp_path, 0, kept=b"CLUSTER_PORT = [", file=whole) as child:
        assert child.order("keep")["configuration"] == packed(whole.encode())


def test_where_that_is_wrong_as_well_it_is_waited_for(tmp_path: Path) -> None:
    with Child(tmp_path, 0, kept=b"CLUSTER_PORT = [", file="CLUSTER_PORT = ") as child:
        until(lambda: "is read again until it is right" in child.log(), PATIENCE_S, child.log)
        (tmp_path / "mltb.toml").write_text(TOML.format(port=free_port()))
        assert child.ends() == EXIT_ANEW
