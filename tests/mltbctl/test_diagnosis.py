"""Each fault is found, named with its node, and comes with a hint; a healthy cluster has nothing but good news."""

from __future__ import annotations

from typing import Any

import pytest

from mltbctl.diagnosis import LEVELS, NOTE, OK, PROBLEM, WARNING, Finding, agreement, diagnose
from tests.mltbctl import pictures, surveys
from tests.mltbctl.surveys import clock, spoilt


def found(survey: dict[str, Any], status: dict[str, Any] | None = None) -> list[Finding]:
    """What is not good news."""
    return [each for each in diagnose(status or pictures.healthy(), survey) if each.level != OK]


def test_a_healthy_cluster() -> None:
    seen = diagnose(pictures.healthy(), surveys.healthy())
    assert {each.level for each in seen} == {OK}
    assert {each.check for each in seen} == {"quorum", "reach", "secret", "options", "disk", "systemd", "clock"}


UNREACHABLE = {"state": "UNREACHABLE", "silent_seconds": 90.0, "rtt_ms": None, "link": "down"}
REFUSED = [{"address": "10.0.1.12:7946", "node": "n3"}]


@pytest.mark.parametrize(
    ("path", "value", "level", "check", "node", "words"),
    [
        ("facts.n1.heard.n3", UNREACHABLE, WARNING, "reach", "n1", "n1 does not hear n3, though n3 hears n1"),
        (
            "facts.n1.heard.n3.link",
            "down",
            WARNING,
            "reach",
            "n1",
            "n1 does not connect to n3, though n3 connects to n1",
        ),
        ("facts.n1.refused_by", REFUSED, PROBLEM, "secret", "n1", "n3 (10.0.1.12:7946) takes n1's connections and"),
        ("facts.n1.secret.also", "99999999", WARNING, "secret", "", "is being changed: two are taken on n1"),
        ("facts.n1.secret.uses", "99999999", WARNING, "secret", "", "is being changed"),
        ("facts.n1.options.FAILOVER_TIMEOUT", 20.0, WARNING, "options", "", "differs: 20 on n1; 30 on n2, n3"),
        ("facts.n1.version", "0.2.0", NOTE, "version", "", "0.1.0, 0.2.0"),
        (
            "facts.n3.protocol.newest",
            2,
            NOTE,
            "protocol",
            "",
            "1 on n1, n2; 2 on n3: the level stays at 1 until all speak",
        ),
        ("facts.n1.loop.worst_lag_seconds", 0.2, WARNING, "loop", "n1", "0.20 s late"),
        ("facts.n1.loop.worst_lag_seconds", 0.8, PROBLEM, "loop", "n1", "0.80 s late"),
        ("facts.n1.disk.fdatasync_ms", 150.0, WARNING, "disk", "n1", "takes 150 ms"),
        ("facts.n1.disk.fdatasync_ms", 900.0, PROBLEM, "disk", "n1", "takes 900 ms"),
        ("facts.n1.disk.error", "it does not answer", PROBLEM, "disk", "n1", "it does not answer"),
        ("facts.n1.disk.free_percent", 4.0, WARNING, "disk", "n1", "4.0 % of its disk"),
        ("facts.n1.disk.free_percent", 0.5, PROBLEM, "disk", "n1", "0.5 % of its disk"),
        ("facts.n1.guard.kill_path", "walk", NOTE, "guard", "n1", "walking the process table"),
        ("facts.n1.guard.daemon_restarts", 2, NOTE, "guard", "n1", "2 times"),
        ("facts.n1.systemd.watchdog_seconds", None, NOTE, "systemd", "n1", "no WatchdogSec"),
        ("facts.n1.counters.own_name", 3, PROBLEM, "name", "n1", "3 messages in its own name lately"),
        ("facts.n1.counters.wrong_cluster", 3, WARNING, "cluster", "n1", "another cluster"),
        ("facts.n1.counters.misdelivered", 3, NOTE, "address", "n1", "3 messages meant for another node lately"),
        ("facts.n1.counters.auth_denied", 1, NOTE, "keys", "n1", "1 connection"),
        ("facts.n1.heard.n2.rtt_ms", 800.0, WARNING, "rtt", "n1", "800 ms to n2"),
        ("clocks.n3", clock(rate_ppm=-1300.0), PROBLEM, "clock", "n3", "-1300 ppm against n2's"),
        ("clocks.n3", clock(rate_ppm=500.0), WARNING, "clock", "n3", "+500 ppm"),
        ("clocks.n3", clock(offset_seconds=-70.0), NOTE, "clock", "n3", "-70.0 s from n2's"),
    ],
)
def test_each_fault(path: str, value: Any, level: str, check: str, node: str, words: str) -> None:
    seen = found(spoilt(path, value))
    assert [(each.level, each.check, each.node) for each in seen] == [(level, check, node)]
    assert words in seen[0].message
    assert seen[0].hint


def test_a_level_that_waits_is_told_with_what_it_waits_for() -> None:
    waits = "level 2 waits for 42 min yet, so that the upgrade can be taken back"
    status = pictures.changed(pictures.healthy(), cluster={"protocol": {"level": 1, "waits": waits}})
    (finding,) = found(surveys.healthy(), status)
    assert (finding.level, finding.check, finding.message) == (NOTE, "protocol", f"the protocol is at level 1: {waits}")


def test_daemons_that_do_not_tell_of_protocols_yet_are_no_fault() -> None:
    survey, status = surveys.healthy(), pictures.healthy()
    del status["cluster"]["protocol"], survey["facts"]["n1"]["protocol"]
    assert found(survey, status) == []


def test_a_rate_within_its_error_is_no_fault() -> None:
    assert found(spoilt("clocks.n3", clock(rate_ppm=5000.0, rate_error_ppm=4900.0))) == []
    assert found(spoilt("clocks.n3", clock(rate_ppm=None, rate_error_ppm=None))) == []


def test_an_open_cluster_is_named() -> None:
    survey = surveys.healthy()
    for told in survey["facts"].values():
        told["secret"] = {"uses": None, "also": None, "insecure": True}
    assert {(each.level, each.check) for each in found(survey)} == {(WARNING, "secret")}


def test_two_nodes_deaf_to_each_other() -> None:
    survey = spoilt("facts.n1.heard.n3", UNREACHABLE)
    survey["facts"]["n3"]["heard"]["n1"] = UNREACHABLE
    assert [each.message for each in found(survey)] == ["n1 and n3 do not hear each other"]


def test_a_node_that_does_not_answer() -> None:
    survey = spoilt("facts.n3", None)
    (seen,) = found(survey)
    assert (seen.level, seen.node, seen.message) == (WARNING, "n3", "heard by n1, n2 but does not answer n2")
    assert "doctor --pre" in seen.hint


def test_a_voter_that_nobody_has_met_is_told_like_one_that_is_silent() -> None:
    survey, status = surveys.healthy(), pictures.healthy()
    del survey["facts"]["n3"], survey["clocks"]["n3"]
    for told in survey["facts"].values():
        del told["heard"]["n3"]
    status["nodes"][2] = pictures.unmet("n3")
    status["cluster"]["failure_tolerance"] = 0
    votes, answers = found(survey, status)
    assert "silent: n3 at least since n2 started" in votes.message
    assert (answers.node, answers.message) == ("n3", "does not answer n2")


def test_a_cut_line_is_seen_though_others_pass_on_who_lives() -> None:
    survey = spoilt("facts.n1.heard.n3.link", "down")
    survey["facts"]["n3"]["heard"]["n1"]["link"] = "down"
    (cut,) = found(survey)
    assert (cut.level, cut.check, cut.node) == (WARNING, "reach", "n1")
    assert cut.message == "n1 and n3 are not connected: they hear of each other through others"


def test_lines_that_nobody_keeps_are_not_cut() -> None:
    assert found(spoilt("facts.n1.heard.n3.link", "none")) == []


def test_who_answers_others_alone_is_behind_a_cut_line() -> None:
    survey = spoilt("facts.n2.heard.n3.link", "down")
    survey["facts"]["n3"] = None
    (cut,) = [each for each in found(survey) if each.check == "answers"]
    assert cut.message == "heard by n1 but does not answer n2"
    assert cut.hint == "check that n2 and n3 can connect to both ports of each other"


def test_a_lost_majority_names_who_since_when_and_the_way_out_last() -> None:
    picture = pictures.no_quorum()
    survey = spoilt("facts.n1", None)
    survey["facts"]["n3"] = None
    worst = found(survey, picture)[0]
    assert (worst.level, worst.check) == (PROBLEM, "quorum")
    assert "the majority is lost: 1 of 3 voters, 2 needed" in worst.message
    for node in picture["nodes"]:
        assert (f"{node['id']} since" in worst.message) == (node["state"] == "UNREACHABLE")
    assert worst.hint.endswith("last of all: `mltbctl recover --dry-run`")


def test_a_majority_whose_disks_are_gone_waits_for_nobody() -> None:
    picture = pictures.no_quorum()
    for node in picture["nodes"]:
        node["state"] = "FOLLOWER"
    picture["alerts"].append({"kind": "wiped", "message": "n1 came back with another disk"})
    worst = found(spoilt("facts.n1", None), picture)[0]
    assert worst.message.endswith("; the disks that voted are gone")
    assert worst.hint.startswith("bring a disk that voted back; only when they are gone for good")


def test_who_hears_no_leader_has_not_lost_the_majority() -> None:
    """The way to the leader alone is cut, or an election is under way."""
    picture = pictures.healthy()
    picture["cluster"]["quorum"]["has_quorum"] = False
    (finding,) = [each for each in found(surveys.healthy(), picture) if each.check == "quorum"]
    assert (finding.level, finding.message) == (
        PROBLEM,
        "n2 hears no leader, though 3 of 3 voters, 2 needed, answer it",
    )
    assert "recover" not in finding.hint


def test_a_cluster_that_is_not_founded_is_no_fault() -> None:
    assert (NOTE, "quorum") in {(each.level, each.check) for each in found(surveys.healthy(), pictures.forming())}


def test_what_may_be_lost() -> None:
    (worst,) = [each for each in found(surveys.healthy(), pictures.unreachable_node()) if each.check == "quorum"]
    assert "no voter may be lost now" in worst.message
    assert worst.level == WARNING


def test_the_worst_comes_first() -> None:
    survey = spoilt("clocks.n3", clock(rate_ppm=-1300.0))
    survey["facts"]["n1"]["guard"]["kill_path"] = "walk"
    survey["facts"]["n1"]["disk"]["free_percent"] = 4.0
    levels = [each.level for each in diagnose(pictures.healthy(), survey)]
    assert levels == sorted(levels, key=LEVELS.index)
    assert set(levels) == set(LEVELS)


def test_who_has_no_such_workload_does_not_differ_in_it() -> None:
    """A witness runs nothing."""
    told: dict[str, dict[str, Any]]
    told = {node: {"version": "1", "options": {"workload.main.stop_timeout": 1.0}} for node in ("n1", "n2")}
    told["n3"] = {"version": "1", "options": {}}
    assert [finding.level for finding in agreement(told)] == [OK]
    told["n2"]["options"] = {"workload.main.stop_timeout": 2.0}
    (finding,) = agreement(told)
    assert (finding.level, "1 on n1; 2 on n2" in finding.message) == (WARNING, True)
