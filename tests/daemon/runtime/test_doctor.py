"""What a node tells of itself and gathers from the others, and that a disk or a peer that hangs holds up nobody."""

from __future__ import annotations

import json
import logging
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from mltb_transport.bus import REFUSED, UP
from mltb_transport.keys import new_secret
from mltb_transport.limits import TEXT_CHARS_MAX
from mltbd.core.peers import NODE_CHARS_MAX
from mltbd.runtime import check_kinds, doctor
from mltbd.runtime.doctor import PAGE_MEMBERS, PER_NODE, PROBES_WAITING_MAX, comparable, probe_disk
from mltbd.runtime.shield import Done
from tests.daemon.config.machines import SECRET, loaded
from tests.daemon.runtime.live import Live
from tests.waiting import until


def test_options_that_ought_to_agree_and_no_secret(tmp_path: Path) -> None:
    toml = '[workload.main]\ncommand = ["bot"]\nstop_timeout = 0.5\n'
    found = comparable(loaded(f"CLUSTER_SECRET={SECRET}", "FAILOVER_TIMEOUT=9", toml=toml, folder=tmp_path))
    assert found["FAILOVER_TIMEOUT"] == 9
    assert found["workload.main.stop_timeout"] == 0.5
    assert not PER_NODE & found.keys()
    assert SECRET not in str(found)


def test_a_probe_leaves_nothing_behind(tmp_path: Path) -> None:
    assert 0 <= probe_disk(tmp_path) < 60
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match="absent"):
        probe_disk(tmp_path / "absent")


def test_the_facts_of_one_node() -> None:
    with Live() as live:
        live.until(lambda: live["n1"].node.consensus.leader == "n1", "a leader")
        found = live.ask("n1", "facts")
    assert (found["node"], found["leader"], found["has_quorum"]) == ("n1", "n1", True)
    assert found["disk"]["fdatasync_ms"] >= 0
    assert found["disk"]["free_bytes"] > 0
    assert found["guard"] == {"kill_path": "walk", "daemon_restarts": 0}
    assert found["heard"] == {}
    assert found["secret"] == {"uses": None, "also": None, "insecure": False}


def test_the_facts_have_everything_that_was_counted() -> None:
    with Live() as live:
        node = live["n1"].node
        live.until(lambda: node.consensus.leader == "n1", "a leader")
        node.counters["stale"], node.membership.counters["leap"], node.desk.commands.counters["unknown"] = 1, 2, 3
        counted = live.ask("n1", "facts", {"quick": True})["counted"]
    assert counted.pop("bus.received") > 0
    assert counted.pop("bus.sent") > 0
    assert counted == {"control.requests": 1, "messages.stale": 1, "gossip.leap": 2, "commands.unknown": 3}


def test_quick_facts_leave_the_disk_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "disk_facts", None)
    with Live() as live:
        assert live.ask("n1", "facts", {"quick": True})["disk"] == {}


def test_a_survey_asks_every_member_and_names_those_that_do_not_answer() -> None:
    with Live(3) as live:
        live.formed()
        whole = live.ask("n2", "survey")
        assert whole["node"] == "n2"
        assert {name: facts["node"] for name, facts in whole["facts"].items()} == {n: n for n in ("n1", "n2", "n3")}
        assert whole["silent"] == {}
        assert whole["facts"]["n1"]["heard"]["n3"]["link"] == "up"
        live.hub.cut(live["n2"].address, live["n3"].address)
        live.hub.cut(live["n3"].address, live["n2"].address)
        torn = live.ask("n2", "survey", {"quick": True})
        assert torn["facts"]["n3"] is None
        assert set(torn["silent"]) == {"n3"}
        assert torn["facts"]["n1"]["node"] == "n1"


def test_a_survey_tells_of_a_voter_that_nobody_has_met(monkeypatch: pytest.MonkeyPatch) -> None:
    with Live(2) as live:
        live.formed()
        monkeypatch.setattr(doctor, "unmet", lambda _: ["n0", "n3"])
        found = live.ask("n1", "survey", {"quick": True})
    assert {name: facts is not None for name, facts in found["facts"].items()} == {
        "n0": False, "n1": True, "n2": True, "n3": False,
    }  # fmt: skip
    assert found["silent"]["n3"] == "nobody has met it since this node started"


def test_a_survey_of_as_many_as_replicate_with_the_longest_names_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """In pages, whatever each of them tells."""
    names = [f"{number:02}".rjust(NODE_CHARS_MAX, "n") for number in range(64)]
    entry = {"state": "UNREACHABLE", "silent_seconds": 86399.999, "rtt_ms": 10000.01, "link": "refused"}
    with Live() as live:
        told = live.ask("n1", "facts", {"quick": True}) | {"heard": dict.fromkeys(names, entry)}
        told["options"] |= {f"workload.{number:0255}.stop_timeout": 1.0 for number in range(16)}
        told["refused_by"] = [{"address": f"{number:0255}:7946", "node": names[0]} for number in range(64)]
        assert 64 * len(json.dumps(told)) > 8 * TEXT_CHARS_MAX
        asked: list[str] = []

        def ask(node: str, _method: str, _patience_s: float, done: Done, _params: object) -> None:
            asked.append(node)
            done(node != names[9], told | {"node": node} if node != names[9] else {"message": "no answer"})

        monkeypatch.setattr(live["n1"].control, "ask", ask)
        monkeypatch.setattr(live["n1"].check_up, "_members", lambda: ["n1", *reversed(names)])
        facts: dict[str, object] = {}
        silent: dict[str, str] = {}
        page: dict[str, Any] = {"more": True, "last": ""}
        while page["more"]:
            before = len(asked)
            page = live.ask("n1", "survey", {"quick": True, "after": page["last"]})
            facts |= page["facts"]
            silent |= page["silent"]
            assert len(asked) - before <= PAGE_MEMBERS
        assert list(facts) == ["n1", *names]
        assert [name for name, its in facts.items() if its is None] == [names[9]] == list(silent)
        beyond = live.ask("n1", "survey", {"after": "z"})
        assert (beyond["facts"], beyond["more"]) == ({}, False)


def test_clocks_are_compared_without_being_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PEER_ANSWERS_S", 0.2)
    with Live(2) as live:
        live.formed()
        live.until(lambda: "n2" in live.ask("n1", "survey", {"quick": True})["clocks"], "a first sample")
        found = live.ask("n1", "survey", {"quick": True})["clocks"]["n2"]
        assert abs(found["offset_seconds"]) < 5
        assert found["rate_ppm"] is None


@pytest.mark.parametrize("what", ["probe_disk", "statvfs"])
def test_a_disk_that_hangs_is_named_and_holds_up_nobody(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    release = threading.Event()
    asked = []

    def hang(_: Path) -> float:
        assert threading.current_thread() is not threading.main_thread(), "the loop turns there"
        asked.append(1)
        release.wait(30)
        raise OSError

    monkeypatch.setattr(doctor if what == "probe_disk" else os, what, hang)
    monkeypatch.setattr(doctor, "PROBE_ANSWERS_S", 0.05)
    try:
        with Live() as live:
            for _ in range(3):
                assert live.ask("n1", "facts")["disk"] == {"error": "it does not answer"}
            assert len(asked) == 1, "one thread hangs, not one for each question"
            live.ask("n1", "ping")
    finally:
        release.set()
        until(lambda: not check_kinds._aside, what="the end of the thread: the next test asks the same disk")


def test_facts_are_told_where_no_thread_is_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with Live() as live:
        monkeypatch.setattr(threading.Thread, "start", no_thread)
        assert live.ask("n1", "facts")["disk"] == {"error": "can't start new thread"}


def test_a_disk_error_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Path) -> float:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(doctor, "probe_disk", broken)
    with Live() as live:
        assert live.ask("n1", "facts")["disk"]["error"] == "input/output error"


def test_not_more_than_so_many_wait_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(doctor, "probe_disk", lambda _: float(release.wait(30)))
    try:
        with Live() as live:
            clients = [live.post("n1", "facts") for _ in range(PROBES_WAITING_MAX)]
            assert live.ask("n1", "facts")["disk"]["error"] == "too many ask at once"
            release.set()
            assert all("free_bytes" in live.answered(client)[1]["disk"] for client in clients)
    finally:
        release.set()


def test_only_an_admin_reloads() -> None:
    with Live() as live:
        assert live.refused("n1", "reload", role="viewer")["code"] == "auth"
        assert live["n1"].reloads == 0
        assert live.ask("n1", "reload") == {"node": "n1"}
        live.until(lambda: live["n1"].reloads == 1)


def test_fingerprints_tell_both_secrets() -> None:
    one, two = new_secret(), new_secret()
    with Live() as live:
        live["n1"].check_up._loaded = loaded(f"CLUSTER_SECRET={one}", f"CLUSTER_SECRET_SECOND={two}")
        found = live.ask("n1", "facts", {"quick": True})["secret"]
    assert found["uses"] != found["also"]
    assert one not in str(found)


def test_a_peer_that_refuses_our_key_is_told_once_and_in_status(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(doctor, "LAG_LOOK_S", 0.005)
    monkeypatch.setattr(doctor, "REFUSED_FOR_S", 0.02)
    links = {("10.0.0.9", 7946): UP, ("fd00::9", 7946): REFUSED}
    told = "[fd00::9]:7946 refuses our key: it has another CLUSTER_SECRET, see "
    with caplog.at_level(logging.WARNING, "mltbd"), Live() as live:
        monkeypatch.setattr(live["n1"].bus, "connections", lambda: dict(links))
        live.until(lambda: told in caplog.text, "a warning")
        alerts = [(alert["kind"], alert["message"]) for alert in live.ask("n1", "status")["alerts"]]
        assert alerts == [("secret", told + "mltbctl doctor")]
        looks = len(live["n1"].check_up._lags)
        live.until(lambda: len(live["n1"].check_up._lags) >= looks + 10, "ten looks more")
        assert caplog.text.count(told) == 1
        links["fd00::9", 7946] = UP
        live.until(lambda: not live.ask("n1", "status")["alerts"])
