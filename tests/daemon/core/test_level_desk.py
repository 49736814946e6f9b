"""One node and the level: what it refuses, what ends it, and when it raises the level as leader."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mltb_transport.level import LEVEL_OF, STORE_LEVEL_OF, Level
from mltb_transport.messages import Append, AppendAnswer, Entry, Found, Founding, Heartbeat, NoOp, Settled
from mltb_transport.store import DELETE, SET, packed
from mltb_transport.voters import Voter
from mltbd.core.effects import Halt, Note, Outcomes, Refusals, Send
from mltbd.core.events import Recovered, Submit, Tick, Unreadable
from mltbd.core.level_desk import STRANGERS_MAX
from mltbd.core.level_rules import NotSpoken, Speaks
from mltbd.core.node import Node
from mltbd.core.node_config import NodeConfig
from tests.daemon.core.core_kit import TIMING, WALL, store
from tests.daemon.core.membership_kit import Dice, record
from tests.daemon.core.node_kit import Wired

OLD, NEW, LATER = Speaks(1, 1), Speaks(1, 2), Speaks(2, 3)
PATIENCE_S = 20.0


class Mixed(Wired):
    """Three nodes; those in `new` speak version 2 as well."""

    def __init__(self, *new: str, **config: Any) -> None:
        self.new = set(new)
        super().__init__("n1", "n2", "n3", level_patience_s=PATIENCE_S, **config)

    def _config(self, name: str) -> NodeConfig:
        return replace(super()._config(name), speaks=NEW if name in self.new else OLD)

    def settled(self) -> Mixed:
        super().settled()
        return self

    def levels(self) -> list[int]:
        return [self.nodes[name].levels.level for name in self.names]

    def commands(self) -> list[object]:
        return [entry.command for entry in self.nodes[self.leader()].consensus.log.after(0)]


def append(node: Node, *entries: Entry, level: int = 0, term: int | None = None) -> Append:
    """The leader's next message to this follower."""
    log = node.consensus.log
    term = node.consensus.term if term is None else term
    return Append(term, 99, log.last_index, log.last_term, node.consensus.commit, (), entries, level)


def follower(wired: Wired) -> tuple[str, Node]:
    return next((name, node) for name, node in wired.nodes.items() if node.consensus.reign is None)


def halts(effects: list[Any]) -> list[str]:
    return [effect.why for effect in effects if isinstance(effect, Halt)]


# -- refusing ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("speaks", "level"), [(OLD, 2), (LATER, 1)])
def test_the_leaders_word_ends_a_node_that_does_not_speak_the_level(speaks: Speaks, level: int) -> None:
    wired = Wired("n1", "n2", "n3", speaks=speaks).settled()
    name, node = follower(wired)
    before = node.consensus.log.last_index
    more = Entry(before + 1, node.consensus.term, WALL, NoOp())
    effects = wired.hear(name, wired.leader(), append(node, more, level=level))
    (why,) = halts(effects)
    assert why.endswith(f"mltbd ({wired.leader()} leads)")
    assert not [effect for effect in effects if isinstance(effect, Send)]
    assert node.consensus.log.last_index == before
    assert node.handle(Tick(), wired.now + 99.0, WALL) == []


def test_a_word_from_the_past_ends_nobody() -> None:
    wired = Wired("n1", "n2", "n3", speaks=OLD).settled()
    name, node = follower(wired)
    other = next(each for each in wired.names if each not in (name, wired.leader()))
    effects = wired.hear(name, other, append(node, level=2, term=node.consensus.term - 1))
    assert not halts(effects)
    (answer,) = [e.message for e in effects if isinstance(e, Send) and isinstance(e.message, AppendAnswer)]
    assert (answer.ok, answer.term) == (False, node.consensus.term)


def test_an_entry_that_is_not_spoken_is_left_with_all_behind_it_and_told_once() -> None:
    wired = Wired("n1", "n2", "n3", speaks=OLD).settled()
    name, node = follower(wired)
    last, term = node.consensus.log.last_index, node.consensus.term
    batch = tuple(Entry(last + place, term, WALL, Level(2) if place == 2 else NoOp()) for place in (1, 2, 3))
    message = append(node, *batch, level=1)
    notes = [
        effect.text
        for _ in range(3)
        for effect in wired.hear(name, wired.leader(), message)
        if isinstance(effect, Note) and effect.level == "error"
    ]
    assert node.consensus.log.last_index == last + 1
    assert not node.levels.halted
    assert notes == [f"entry {last + 2} is beyond protocol 1, which this mltbd speaks"]


def test_a_disk_with_an_entry_beyond_us_is_not_started_on() -> None:
    log = (Entry(1, 1, 0, Founding("c1", "", (Voter("n1", store("n1")),))), Entry(2, 1, 0, Level(2)))
    config = NodeConfig("n1", "c1", TIMING, speaks=OLD)
    with pytest.raises(NotSpoken, match="level 2"):
        Node(config, Recovered(store("n1"), 1, 1, "", log), Dice(1), 0.0)
    Node(NodeConfig("n1", "c1", TIMING, speaks=NEW), Recovered(store("n1"), 1, 1, "", log), Dice(1), 0.0)


def test_a_leader_whose_build_is_too_new_for_what_is_agreed_on_ends() -> None:
    wired = Wired("n1", speaks=LATER)
    founding = Entry(1, 1, WALL, Founding("c1", "", (Voter("n1", store("n1")),)))
    wired._disks["n1"] = (1, "", (founding,))
    wired.begin("n1")
    wired.run(10.0)
    (halt,) = wired.done(Halt)
    assert halt[1].why == "the cluster is at protocol level 1, this mltbd speaks 2 to 3: install an older mltbd"
    assert wired.running() == []


# -- strangers ---------------------------------------------------------------------------------------------------


def test_who_cannot_be_read_is_named_once_until_it_is_understood() -> None:
    wired = Wired("n1", "n2", "n3").settled()
    notes = [
        effect.text
        for event in (Unreadable("n9", 4), Unreadable("n9", 4))
        for effect in wired.nodes["n1"].handle(event, wired.now, WALL)
        if isinstance(effect, Note)
    ]
    assert "n9 speaks protocol 4, this node 1 to 2: they cannot work together" in notes
    assert wired.nodes["n1"].levels.strangers == {"n9": 4}
    wired.hear("n1", "n9", Found(Entry(1, 1, 0, NoOp())))
    assert wired.nodes["n1"].levels.strangers == {}


def test_strangers_are_remembered_within_a_limit() -> None:
    node = Wired("n1", "n2", "n3").settled().nodes["n1"]
    for number in range(STRANGERS_MAX + 5):
        node.handle(Unreadable(f"x{number}", 7), 200.0, WALL)
    assert len(node.levels.strangers) == STRANGERS_MAX


# -- raising -----------------------------------------------------------------------------------------------------


def test_it_rises_once_after_the_patience_and_everybody_applies_it() -> None:
    wired = Mixed("n1", "n2", "n3").settled()
    assert wired.levels() == [1, 1, 1]
    assert "so that the upgrade can be taken back" in wired.nodes[wired.leader()].levels.waits(wired.now)
    won_at = wired.nodes[wired.leader()].consensus.reign
    assert won_at is not None
    assert wired.until(lambda: wired.levels() == [2, 2, 2])
    assert PATIENCE_S <= wired.now - won_at.won_at < PATIENCE_S + 5.0
    wired.run(30.0)
    assert wired.commands().count(Level(2)) == 1
    assert wired.nodes[wired.leader()].levels.waits(wired.now) == ""


@pytest.mark.parametrize("old", ["n1", "n2", "n3"])
def test_it_waits_for_the_last_old_node(old: str) -> None:
    wired = Mixed(*{"n1", "n2", "n3"} - {old}).settled()
    wired.run(5 * PATIENCE_S)
    assert wired.levels() == [1, 1, 1]
    who = "the leader" if wired.leader() == old else old
    assert wired.nodes[wired.leader()].levels.waits(wired.now) == f"level 2 waits: {who} speaks protocol 1"
    assert wired.nodes[follower(wired)[0]].levels.waits(wired.now) == ""


def test_it_waits_for_a_silent_voter_and_says_so() -> None:
    wired = Mixed("n1", "n2", "n3").settled()
    name, _ = follower(wired)
    wired.isolate(name)
    wired.run(3 * PATIENCE_S)
    assert Level(2) not in wired.commands()
    assert wired.nodes[wired.leader()].levels.waits(wired.now) == f"level 2 waits: {name} is silent"
    wired.cut.clear()
    assert wired.until(lambda: wired.levels() == [2, 2, 2])


def test_a_node_known_by_gossip_alone_may_be_asked_about() -> None:
    wired = Mixed("n1", "n2", "n3").settled()
    assert wired.until(lambda: wired.levels() == [2, 2, 2])
    leader = wired.leader()
    node = wired.nodes[leader]
    reign = node.consensus.reign
    assert reign is not None
    wired.hear(leader, "n9", Heartbeat(replace(record("n9"), cluster="c1"), ()))
    reign.peers.pop("n9", None)  # As long as it is not replicated to.
    assert node.membership.record("n9") is not None
    assert node.levels.waits(wired.now) == ""


def test_a_late_answer_of_a_daemon_that_is_gone_does_not_speak_for_its_node() -> None:
    wired = Mixed("n1", "n2", "n3").settled()
    leads = wired.leader()
    reign = wired.nodes[leads].consensus.reign
    assert reign is not None
    name, node = follower(wired)
    rounds = reign.peers[name].said_round
    silent = AppendAnswer(node.consensus.term, rounds, True, 1, store(name), (), oldest=1, newest=2)
    wired.isolate(name)
    for _ in range(60):
        wired.run(1.0)
        wired.hear(leads, name, silent)  # Repeated again and again by the network.
    assert Level(2) not in wired.commands()
    older = AppendAnswer(node.consensus.term, rounds - 1, True, 1, store(name), (), oldest=1, newest=1)
    wired.hear(leads, name, older)
    assert reign.peers[name].speaks == (1, 2)


def test_below_its_level_an_entry_is_not_proposed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LEVEL_OF, Settled, 2)
    wired = Mixed("n1", "n2", "n3").settled()
    consensus = wired.nodes[wired.leader()].consensus
    assert consensus.propose(Settled("main", 1), wired.now, WALL) is None
    wired.until(lambda: wired.levels() == [2, 2, 2])
    assert wired.nodes[wired.leader()].consensus.propose(Settled("main", 1), wired.now, WALL)


def test_a_leader_says_the_level_only_once_it_knows_it() -> None:
    wired = Mixed("n1", "n2", "n3").settled()
    wired.until(lambda: wired.levels() == [2, 2, 2])
    wired.effects.clear()
    wired.stop(wired.leader())
    wired.until(lambda: wired.leader() != "")
    new = wired.nodes[wired.leader()].consensus
    told = [
        effect.message
        for _, who, effect in wired.effects
        if isinstance(effect, Send) and isinstance(effect.message, Append) and who == new.me
    ]
    assert new.reign is not None
    assert {message.level for message in told} <= {0, 2}
    assert [m.level for m in told if m.commit < new.reign.first_index] == [
        0 for m in told if m.commit < new.reign.first_index
    ]
    wired.run(2.0)
    assert wired.nodes[wired.leader()].consensus.level == 2


@pytest.mark.parametrize("served_by", ["n1", "n2"])
def test_a_client_command_of_a_later_level_is_refused_where_it_is_taken_in(
    served_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(STORE_LEVEL_OF, SET, 2)
    wired = Mixed("n1", "n2", "n3").settled()
    commands = (packed("a", 1, SET, "k", "1", -1, "", 0), packed("b", 1, DELETE, "k", -1, "", 0))
    wired.feed(served_by, Submit(commands))
    wired.run(1.0)
    (refused,) = [effect for _, effect in wired.done(Refusals)]
    assert (refused.keys, refused.code) == ((("a", 1),), "unavailable")
    assert [done[:2] for _, effect in wired.done(Outcomes) for done in effect.done] == [("b", 1)] * 3
    wired.until(lambda: wired.levels() == [2, 2, 2])
    wired.effects.clear()
    wired.feed(served_by, Submit(commands[:1]))
    wired.run(1.0)
    assert not wired.done(Refusals)
    assert [done[:2] for _, effect in wired.done(Outcomes) for done in effect.done] == [("a", 1)] * 3
