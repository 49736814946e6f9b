"""What is applied is as old as the last moment at which nothing more was committed."""

from __future__ import annotations

from mltb_transport.messages import Append, Message
from mltb_transport.store import SET, packed
from mltbd.core.effects import Outcomes
from mltbd.core.events import Submit
from mltbd.core.freshness import ON_TIME, Freshness
from tests.daemon.core.core_kit import FIVE, THREE, TIMING, Member
from tests.daemon.core.node_kit import Wired


class Ages(Wired):
    """Three nodes, led by n1. `mute`: of its Appends to n2 only so many arrive."""

    mute: int | None = None

    def _pass(self, source: str, target: str, message: Message) -> None:
        if self.mute is not None and (source, target) == ("n1", "n2") and isinstance(message, Append):
            self.mute -= 1
            if self.mute < 0:
                return
        super()._pass(source, target, message)

    def writes(self, name: str) -> float | None:
        """A client of this node writes. When it was told that this is done; None when it was not."""
        self.effects.clear()
        self.feed(name, Submit((packed("me", 1, SET, "k", "1", -1, "", 0),)))
        return self.now if any(each.done for node, each in self.done(Outcomes) if node == name) else None

    def has(self, name: str) -> bool:
        return self.nodes[name].state.store.keyvalues.get("k") is not None

    def fresh_at(self, name: str) -> float:
        node = self.nodes[name]
        fresh_at = node.freshness.fresh_at(node.state.applied)
        assert fresh_at is not None
        return fresh_at


def test_it_is_fresh_once_what_was_told_is_applied() -> None:
    fresh = Freshness(0.0)
    assert fresh.fresh_at(9) is None
    fresh.told(4, 1.0, 3)
    assert fresh.fresh_at(3) is None
    assert fresh.fresh_at(4) == 1.0
    fresh.told(4, 2.0, 4)
    assert fresh.fresh_at(4) == 2.0


def test_who_lags_grows_old_however_often_its_leader_is_heard() -> None:
    fresh = Freshness(0.0)
    fresh.told(4, 1.0, 4)
    for second in range(2, 9):
        fresh.told(3 + second, float(second), 4)
    assert fresh.fresh_at(4) == 1.0
    assert fresh.fresh_at(6) == 2.0, "of all it was told since, the first"
    fresh.told(11, 9.0, 6)
    assert fresh.fresh_at(10) == 2.0
    assert fresh.fresh_at(11) == 9.0


def test_a_leader_that_does_not_know_yet_what_is_committed_makes_nobody_fresh() -> None:
    """n2 holds a write that was told as done, and has not heard that it is committed. Nor does it learn so as leader,
    while the disk of the only other voter is slow."""
    wired = Ages(*THREE)
    wired.settled()
    wired.cut |= {("n1", "n3"), ("n2", "n3"), ("n3", "n1"), ("n3", "n2")}
    wired.mute = 1
    wrote_at = wired.writes("n1")
    assert wrote_at == wired.now
    wired.stop("n1")
    wired.cut.clear()
    wired.slow.add("n3")
    for _ in range(200):
        wired.run(0.01)
        if wired.nodes["n2"].consensus.reign is not None:
            break
        wired.saved("n3")  # Its vote.
    for _ in range(15):
        wired.run(0.1)
        assert wired.nodes["n2"].consensus.role == "leader"
        for name in ("n2", "n3"):
            assert not wired.has(name)
            assert wired.fresh_at(name) <= wrote_at, f"{name} lacks what was written then"
    wired.slow.clear()
    wired.saved("n3")
    wired.run(1.0)
    for name in ("n2", "n3"):
        assert wired.has(name)
        assert wired.now - wired.fresh_at(name) < 1.0


def test_who_is_cut_off_with_its_leader_does_not_take_its_word_for_that_of_a_quorum() -> None:
    """Two of five: the other three have a leader of their own before the old one gives up."""
    wired = Ages(*FIVE)
    wired.settled()
    few, many = FIVE[:2], FIVE[2:]
    wired.cut |= {pair for one in few for other in many for pair in ((one, other), (other, one))}
    assert wired.until(lambda: any(wired.nodes[name].consensus.in_charge for name in many))
    (led,) = (name for name in many if wired.nodes[name].consensus.in_charge)
    wrote_at = wired.writes(led)
    assert wrote_at == wired.now
    for _ in range(100):
        wired.run(0.05)
        for name in few:
            assert not wired.has(name)
            assert wired.fresh_at(name) <= wrote_at, f"{name} lacks what was written then"
    wired.cut.clear()
    wired.run(3.0)
    assert all(wired.has(name) and wired.now - wired.fresh_at(name) < 1.0 for name in FIVE)


def test_what_comes_after_a_silence_may_have_waited_and_is_no_news_for_a_heartbeat() -> None:
    member, fresh, heartbeat_s = Member("n2"), Freshness(0.0), TIMING.heartbeat_s

    def hears(now: float, confirmed_s: float = 0.0) -> float | None:
        """The moment of which the view is, after n1 has spoken."""
        heartbeat = Append(1, 1, 1, 1, 1, ("n1",), (), 1, confirmed_s)
        member.consensus.append("n1", heartbeat, now)
        fresh.heard(heartbeat, member.consensus, now, 1)
        return fresh.fresh_at(1)

    assert hears(9.0) == 9.0, "nothing waits for a daemon that begins"
    on_time = 9.0 + ON_TIME * heartbeat_s
    assert hears(on_time) == on_time
    assert hears(20.0) == on_time
    assert hears(20.0) == on_time
    assert hears(20.0 + 0.9 * heartbeat_s) == on_time
    assert hears(20.0 + heartbeat_s) == 20.0 + heartbeat_s
    slow = 20.0 + 9 * heartbeat_s
    assert hears(slow, 8 * heartbeat_s) == slow - 8 * heartbeat_s, "with a longer lease than ours it speaks more rarely"
