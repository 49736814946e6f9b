"""The operator's year, from the first `init` to the day when somebody types `recover`: one cluster, one story.

Each chapter leaves the cluster whole. All through it two programs use keys and a lock, and at the end everything is
judged together: the runs of the workload, the histories of the programs, and what the product itself tells of it.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mltb_transport.keys import new_secret
from mltbctl.client import Client, MltbError
from tests.e2e import year_clients
from tests.e2e.namespaces import Cables, missing
from tests.e2e.year import LOOK_S, NAME, PATIENCE_S, Year, cannot_mount
from tests.e2e.year_clients import Program
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(bool(missing()), reason=missing() or "all is there")]

DISK_MIB = 64
"""The ballast is 8 MiB, and comes back when four times as much is free."""
BIG = "x" * 10_000


def test_the_operators_year(tmp_path: Path) -> None:
    with Cables(4) as cables, Year(tmp_path, cables) as year:
        for chapter in CHAPTERS:
            began = time.monotonic()
            try:
                chapter(year)
                year.served()
                year.check()
            except (AssertionError, MltbError) as error:
                raise AssertionError(f"{chapter.__name__}: {error}\n{year.picture()}") from error
            print(f"{chapter.__name__}: {time.monotonic() - began:.1f} s")


# -- who belongs to it -----------------------------------------------------------------------------------------------


def one_founds_two_join(year: Year) -> None:
    token = year.init("n1")
    for node in ("n2", "n3"):
        year.join(node, token)
    for node in ("n1", "n2", "n3"):
        year.cluster.start(node)
    until(lambda: year.owner("n1"), PATIENCE_S, year.picture)
    sockets = [str(plan.socket) for plan in year.cluster.plans.values()]
    year.programs += [Program("ann", sockets), Program("bob", sockets[::-1])]
    for program in year.programs:
        program.start()
    year.decided("founding")
    year.decided("promoted", to="n2")
    year.decided("promoted", to="n3")
    year.whole("n1", "n2", "n3")
    assert year.ask("status")["cluster"]["name"] == NAME


def a_fourth_joins_and_takes_the_vote_of_one_that_leaves_for_good(year: Year) -> None:
    year.join("n4", year.ask("init", "--token", "--config", str(year.cluster.plans["n1"].config))["join"].split()[-1])
    year.cluster.start("n4")
    until(lambda: year.member("n4", "n1").get("lag") == 0, PATIENCE_S, "n4 has caught up")
    year.whole("n1", "n2", "n3")
    assert year.member("n4", "n1")["voter"] is False, "three are enough"
    plan = year.ask("node", "remove", "n2", "--dry-run")
    assert (plan["before"]["voters"], plan["after"]["voters"]) == (3, 2)
    year.ctl("node", "remove", "n2", "--yes", "--reason", "sold")
    year.decided("removed", reason="sold")
    until(lambda: "removed" in alerts(year, "n2"), PATIENCE_S, "n2 was told")
    year.stop("n2")
    year.decided("promoted", to="n4")
    year.whole("n1", "n3", "n4")


def alerts(year: Year, node: str) -> list[str]:
    seen = year.status(node)
    return [alert["kind"] for alert in seen["alerts"]] if seen else []


def a_wiped_disk_comes_back(year: Year) -> None:
    year.cluster.kill("n3")
    year.wipe("n3")
    year.cluster.start("n3")
    year.decided("lost", to="n3")
    year.decided("promoted", to="n3")
    year.whole("n1", "n3", "n4")


def a_machine_is_bought_back_and_promoted_by_hand(year: Year) -> None:
    year.wipe("n2")
    year.cluster.start("n2")
    until(lambda: year.member("n2", "n1").get("lag") == 0, PATIENCE_S, "n2 has caught up")
    year.whole("n1", "n3", "n4")
    year.ctl("node", "promote", "n2", "--reason", "four are more than three")
    year.decided("promoted", reason="four are more than three")
    year.whole(*year.cluster.nodes)


# -- maintenance -----------------------------------------------------------------------------------------------------


def paused_nothing_moves(year: Year) -> None:
    owner = year.whole(*year.cluster.nodes)
    other = year.others(owner)[0]
    year.ctl("pause", "--for", "1h", "--reason", "new switch")
    year.decided("pause", reason="new switch")
    year.ctl("is", "paused", node=other)
    year.stop(owner)
    until(lambda: year.ask("status", node=other)["workloads"][0]["owner"] is None, PATIENCE_S, "given back")
    year.cluster.start(owner)
    assert year.whole(*year.cluster.nodes) == owner
    year.ctl("resume")
    year.decided("resume")
    year.ctl("is", "paused", node=other, code=1)


def a_node_is_drained(year: Year) -> None:
    owner = year.whole(*year.cluster.nodes)
    year.ctl("node", "drain", owner, "--reason", "new disk")
    year.decided("drain_node", reason="new disk")
    year.decided("drain", from_=owner)
    other = year.elsewhere(owner)
    _, said = year.ctl("failover", "--to", owner, "--yes", node=other, code=5)
    assert "drained" in said
    year.ctl("node", "undrain", owner)
    year.decided("undrain_node")
    year.whole(*year.cluster.nodes)


def all_are_upgraded_one_by_one(year: Year) -> None:
    for node in year.cluster.nodes:
        owner = year.whole(*year.cluster.nodes)
        year.stop(node)
        if node == owner:
            year.decided("handover", from_=owner)
            year.elsewhere(owner)
        year.cluster.start(node)
    year.whole(*year.cluster.nodes)


def the_secret_changes(year: Year) -> None:
    owner = year.whole(*year.cluster.nodes)
    here, *others = year.cluster.nodes
    absent = year.others(owner, here)[-1]
    rotate = ("--config", str(year.cluster.plans[here].config), "secret", "rotate")
    year.stop(absent)
    assert absent in year.ctl(*rotate, code=5)[1], "who does not answer would be cut off"
    year.cluster.start(absent)
    year.whole(*year.cluster.nodes)
    runs, slowest = len(year.runs()), 0.0
    for step in ("add", "switch", "drop"):
        slowest = max(slowest, reloaded(year, here, *rotate))
        year.copy_secret(here, *others)
        for node in others:
            slowest = max(slowest, reloaded(year, node, "service", "reload"))
        assert year.ask(*rotate, "--dry-run")["step"] != step
    shown = year.ask(*rotate[:2], "secret", "show")
    with Client(str(year.cluster.plans[here].socket), timeout=PATIENCE_S) as client:
        facts = client.survey(quick=True)["facts"]
    told = {node: (each["secret"]["uses"], each["secret"]["also"]) for node, each in facts.items()}
    assert told == dict.fromkeys(year.cluster.nodes, (shown["fingerprint"], None))
    # What Python takes to start is not ours to promise.
    assert len(year.runs()) == runs or slowest > year.lease_s / 3, "the workload ran on"


def reloaded(year: Year, node: str, *words: str) -> float:
    """Types this, waits until the node's next daemon is there and all is whole; how long it had none."""

    def incarnation() -> int:
        return int(year.member(node, node).get("incarnation", 0))

    before = until(incarnation, PATIENCE_S, f"{node} answers")
    year.ctl(*words, node=node)
    began = time.monotonic()
    until(lambda: incarnation() > before, PATIENCE_S, f"{node} reads its configuration anew", LOOK_S)
    took = time.monotonic() - began
    year.whole(*year.cluster.nodes)
    return took


def a_wrong_key_is_named(year: Year) -> None:
    """A machine is restored from a backup: it knocks with the secret of last year."""
    owner = year.whole(*year.cluster.nodes)
    stranger, here = year.others(owner)[-1], owner
    year.stop(stranger)
    year.secret(stranger).write_text(f"{new_secret()}\n")
    year.cluster.start(stranger)

    def named() -> bool:
        found = year.ask("doctor", node=here)["findings"]
        told = [each["message"] for each in found if (each["check"], each["level"]) == ("secret", "problem")]
        return any(message.startswith(stranger) and "has another secret" in message for message in told)

    until(named, PATIENCE_S, lambda: f"doctor names {stranger}: {year.ctl('doctor', node=here)}")
    year.stop(stranger)
    year.copy_secret(here, stranger)
    year.cluster.start(stranger)
    year.whole(*year.cluster.nodes)


# -- what breaks -----------------------------------------------------------------------------------------------------


def a_disk_fills_up(year: Year) -> None:
    probe = year.cluster.directory / "probe"
    probe.mkdir()
    if why := cannot_mount(probe):
        print(f"a_disk_fills_up: skipped: {why}")
        return
    owner = year.whole(*year.cluster.nodes)
    full = next(node for node in year.others(owner) if node != year.leader())
    year.stop(full)
    with year.small_disk(full, DISK_MIB):
        year.cluster.start(full)
        year.whole(*year.cluster.nodes)
        filler = year.state(full) / "somebody-elses-file"
        fill(filler)
        with Client(str(year.cluster.plans[owner].socket), timeout=PATIENCE_S) as client:
            until(lambda: client.state.set("year/big", BIG) and troubles(year, full, full), PATIENCE_S, "it is full")
            until(lambda: troubles(year, full, owner), PATIENCE_S, f"{owner} hears of it")
            verdicts = year.ask("failover", "--dry-run", node=owner)["plan"]["candidates"]
            assert [each["eligible"] for each in verdicts if each["node"] == full] == [False], verdicts
            filler.unlink()
            until(lambda: client.state.set("year/big", "") and troubles(year, full, owner) == [], PATIENCE_S, "room")
        year.whole(*year.cluster.nodes)
        year.stop(full)
    year.cluster.start(full)
    year.whole(*year.cluster.nodes)


def troubles(year: Year, node: str, seen_from: str) -> list[str] | None:
    """None while nothing is told of it."""
    found: list[str] | None = year.member(node, seen_from).get("troubles")
    return found


def fill(path: Path) -> None:
    """All the room there is, to the last byte."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while file.write(b"\0" * size):
                    pass
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


def the_owners_cable_comes_out(year: Year) -> None:
    owner = year.whole(*year.cluster.nodes)
    year.cables.pull(owner)
    try:
        year.elsewhere(owner)
        year.decided("failover", from_=owner)
        alone = until(lambda: year.status(owner), PATIENCE_S, "it answers on its own machine")
        assert alone["cluster"]["quorum"]["has_quorum"] is False
    finally:
        year.cables.plug(owner)
    year.whole(*year.cluster.nodes)


def another_cable_comes_out(year: Year) -> None:
    owner = year.whole(*year.cluster.nodes)
    other = year.others(owner)[0]
    before = len(year.runs())
    year.cables.pull(other)
    try:
        until(lambda: other not in year.voters(owner), PATIENCE_S, f"{other} is missed")
        until(lambda: year.owner(owner) == owner, PATIENCE_S, "the owner goes on")
    finally:
        year.cables.plug(other)
    assert year.whole(*year.cluster.nodes) == owner or year.starved
    assert len(year.runs()) == before or year.starved


def what_was_foretold_happens(year: Year) -> None:
    owner = year.whole(*year.cluster.nodes)
    foretold = year.ask("simulate", "kill owner")
    (main,) = foretold["workloads"]
    assert (main["before"], foretold["quorum"]["has_quorum"], foretold["overlaps"]) == (owner, True, 0)
    year.cluster.kill(owner)
    heir = year.elsewhere(owner)
    assert heir in [after["node"] for after in main["after"]], foretold
    year.decided("failover", from_=owner, to=heir)
    year.cluster.start(owner)
    year.whole(*year.cluster.nodes)


def recovery_is_refused_while_others_answer(year: Year) -> None:
    owner = year.whole(*year.cluster.nodes)
    lonely = year.others(owner)[0]
    year.stop(lonely)
    plan = year.cluster.plans[lonely]
    _, said = year.ctl(
        "recover", "--config", str(plan.config), "--state-dir", str(year.state(lonely)), "--confirm", NAME,
        node=lonely, code=5, inside=True,
    )  # fmt: skip
    assert "the majority may not be gone; nothing was changed" in said
    year.cluster.start(lonely)
    year.whole(*year.cluster.nodes)


# -- what is left of it ----------------------------------------------------------------------------------------------


def the_history_tells_it_all(year: Year) -> None:
    events = year.ask("events")["events"]
    told = iter(events)
    for wanted in year.decisions:
        event = next((each for each in told if wanted.fits(each)), None)
        assert event is not None, f"the history does not tell in its place: {wanted}\n{year.ctl('events')[0]}"
    # Also of those that a busy machine may have brought about.
    for event in [each for each in events if each["kind"] == "failover"]:
        story = year.ask("explain", str(event["id"]))["facts"]
        assert story["lost"].startswith(f"{event['from']}, which ran `main`"), story
        assert story["noticed"], story
        assert story["by hand"] == "nothing", story


def the_programs_were_told_the_truth(year: Year) -> None:
    year.served()
    year_clients.end(year.programs)
    assert not year_clients.verdict(year.programs)
    print({program.name: (program.done, len(program.trouble)) for program in year.programs})
    year.programs.clear()


CHAPTERS: tuple[Callable[[Year], None], ...] = (
    one_founds_two_join,
    a_fourth_joins_and_takes_the_vote_of_one_that_leaves_for_good,
    a_wiped_disk_comes_back,
    a_machine_is_bought_back_and_promoted_by_hand,
    paused_nothing_moves,
    a_node_is_drained,
    all_are_upgraded_one_by_one,
    the_secret_changes,
    a_wrong_key_is_named,
    a_disk_fills_up,
    the_owners_cable_comes_out,
    another_cable_comes_out,
    what_was_foretold_happens,
    recovery_is_refused_while_others_answer,
    the_history_tells_it_all,
    the_programs_were_told_the_truth,
)
