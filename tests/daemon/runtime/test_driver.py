"""The driver performs effects in order, wakes the node when it asks, follows addresses, and ends when closed."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from mltb_transport.bus import Route
from mltb_transport.frames import PROTOCOL, Frame, decode
from mltb_transport.limits import ITEMS_MAX, TEXT_CHARS_MAX
from mltb_transport.messages import Append, AppendAnswer, Heartbeat, Message, Ping, Pong, Response, Sync
from mltb_transport.records import Record
from mltb_transport.store import BundleAnswer
from mltbd.core.effects import Contact, Effect, Publish, Send
from mltbd.core.events import INCARNATION_SPAN, Ask, Event, GuardSays, Received, Saved, StopRequested
from mltbd.runtime.clock import boottime
from mltbd.runtime.driver import STRAIN_S
from tests.daemon.runtime.live import PORT, Live, LiveNode
from tests.transport.frame_kit import encode
from tests.transport.memory_bus import MemoryBus
from tests.waiting import until


def of_another(node: LiveNode, name: str, address: str, incarnation: int = 1, seq: int = 1) -> Received:
    """What a node of this name would publish from this address."""
    record = replace(
        node.node.membership.own, node=name, store=f"disk-{name}", incarnation=incarnation, seq=seq, address=address,
        workloads=(), ready=(), cluster=node.node.cluster, leader="", founder=False,
    )  # fmt: skip
    return Received(name, incarnation, record.cluster, Heartbeat(record, ()))


def listener(live: Live, address: str) -> list[Any]:
    """A bus that notes what it is sent."""
    heard: list[Any] = []
    bus = MemoryBus(live.hub, address, PORT)
    bus.open(lambda payload, _: heard.append(decode(payload)))
    bus.link("n1.test", PORT)
    return heard


def test_a_lone_node_founds_elects_itself_and_runs_its_workload_in_that_order() -> None:
    with Live() as live:
        one = live.formed()["n1"]
        assert one.disk.saves == sorted(one.disk.saves)
        assert one.disk.saves[0] == 1
        [arm, start] = [one.guard.orders[0], next(o for o in one.guard.orders if o[0] == "start")]
        token = one.node.state.placements.get("main").token
        assert (arm, start) == (("arm", "main", token), ("start", "main", token))
        assert one.guard.running() == ["main"]


def test_a_lease_is_renewed_by_the_timer_alone() -> None:
    with Live() as live:
        one = live.formed()["n1"]
        first = one.guard.leases["main"].until
        live.until(lambda: one.guard.leases["main"].until > first + 2.0)
        assert one.guard.running() == ["main"]


def test_nothing_is_promised_before_the_disk_has_it() -> None:
    with Live(2) as live:
        live.formed()
        two = live["n2"]
        two.disk.held = True
        written = len(two.disk.entries)
        live.ask("n1", "ping")
        client = live.post("n1", "switchover", {"to": "n2"})
        live.until(lambda: two.node.consensus.log.last_index > written)
        live.holds(lambda: live.answers(client) == [], 0.1)
        assert live["n1"].guard.running() == ["main"]
        two.disk.release()
        assert live.answered(client)[0]
        live.until(lambda: two.guard.running() == ["main"])


def test_what_only_waits_for_the_disk_leaves_before_the_node_looks_at_anything_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Live(2) as live:
        live.formed()
        two = live["n2"]
        order: list[str] = []
        handle, send = two.node.handle, two.bus.send

        def handled(event: Event, now: float, wall: int) -> list[Effect]:
            order.append("handles" if isinstance(event, Saved) else "")
            return handle(event, now, wall)

        def sent(address: str, port: int, payload: bytes) -> bool:
            order.append("answers" if isinstance(decode(payload).message, AppendAnswer) else "")
            return send(address, port, payload)

        two.disk.held = True
        client = live.post("n1", "state_set", {"client": "c", "seq": 1, "key": "k", "value": "1"})
        live.until(lambda: two.disk.waiting > 0)
        monkeypatch.setattr(two.node, "handle", handled)
        monkeypatch.setattr(two.bus, "send", sent)
        two.disk.release()
        assert live.answered(client)[0]
        assert [step for step in order if step][:2] == ["answers", "handles"]


def test_numbers_of_frames_grow_over_all_that_is_sent() -> None:
    with Live() as live:
        one = live.formed()["n1"]
        heard = listener(live, "x.test")
        one.driver.handle(of_another(one, "x", "x.test"))
        live.until(lambda: {type(frame.message) for frame in heard} >= {Append, Heartbeat})
        numbers = [frame.seq for frame in heard]
        assert numbers == sorted(set(numbers))
        assert {(frame.sender, frame.cluster, frame.incarnation) for frame in heard} == {("n1", "c-1", 1)}


def test_what_is_sent_to_one_says_to_whom_and_what_is_published_does_not() -> None:
    with Live() as live:
        one = live.formed()["n1"]
        heard = listener(live, "x.test")
        one.driver.handle(of_another(one, "x", "x.test"))
        live.until(lambda: {type(frame.message) for frame in heard} >= {Append, Heartbeat})
        assert {frame.to for frame in heard if isinstance(frame.message, Append)} == {"x"}
        assert {frame.to for frame in heard if isinstance(frame.message, Heartbeat)} == {""}


def test_a_message_to_nobody_is_not_sent() -> None:
    with Live() as live:
        one = live.formed()["n1"]
        assert one.driver.send("n9", Ping(1)) is False


@pytest.mark.parametrize("carried", [
    Response(1, True, "x" * (TEXT_CHARS_MAX + 1)),
    Response(1, True, "\ud800"),
    BundleAnswer((b"",) * (ITEMS_MAX + 1)),
    BundleAnswer((b"x" * (64 * 1024),) * 17),
    Sync((), reply=False, losses=(object(),)),  # type: ignore[arg-type]
])  # fmt: skip
def test_what_no_frame_can_hold_is_lost_and_counted_and_ends_nobody(carried: Message) -> None:
    with Live(2) as live:
        one = live.formed()["n1"]
        before = one.bus.counters["oversized"]
        assert one.driver.send("n2", carried) is False
        assert one.driver.reply(Route("local", b"somebody"), carried) is False
        for effect in (Send("n2", carried), Publish(carried), Contact(f"n2.test:{PORT}", carried)):
            live.act(partial(one.driver._perform, [effect]))
        assert one.bus.counters["oversized"] - before == 5
        assert live.ask("n2", "ping")


def test_a_node_that_moves_is_spoken_to_at_its_new_address_alone() -> None:
    with Live() as live:
        one = live.formed()["n1"]
        old, new = listener(live, "old.test"), listener(live, "new.test")
        one.driver.handle(of_another(one, "x", "old.test"))
        live.until(lambda: old)
        one.driver.handle(of_another(one, "x", "new.test", incarnation=2))
        live.until(lambda: new)
        live.act(old.clear)
        assert one.driver.send("x", Ping(7))
        live.until(lambda: any(frame.message == Ping(7) for frame in new))
        assert not any(frame.message == Ping(7) for frame in old)
        assert one.bus.send("old.test", PORT, b"?") is False, "the old link is gone"


def test_two_nodes_that_exchange_their_addresses_are_both_reached() -> None:
    with Live() as live:
        one = live.formed()["n1"]
        here, there = listener(live, "here.test"), listener(live, "there.test")
        one.driver.handle(of_another(one, "x", "here.test"))
        one.driver.handle(of_another(one, "y", "there.test"))
        one.driver.handle(of_another(one, "x", "there.test", incarnation=2))
        one.driver.handle(of_another(one, "y", "here.test", incarnation=2))
        assert one.driver.send("x", Ping(1))
        assert one.driver.send("y", Ping(2))
        live.until(lambda: any(frame.message == Ping(1) for frame in there))
        live.until(lambda: any(frame.message == Ping(2) for frame in here))


def test_a_seed_stays_linked_when_the_node_behind_it_has_another_address() -> None:
    with Live(2) as live:
        one = live["n1"]
        live.formed()
        live["n2"].close()
        heard = listener(live, "moved.test")
        one.driver.handle(of_another(one, "n2", "moved.test", incarnation=2))
        assert one.driver.send("n2", Ping(3))
        live.until(lambda: any(frame.message == Ping(3) for frame in heard))
        seed = listener(live, "n2.test")
        ping = encode(Frame(PROTOCOL, "", "n1", 1, 1, Ping(4)))
        live.until(lambda: one.bus.send("n2.test", PORT, ping), "the seed is still linked")
        live.until(lambda: any(frame.message == Ping(4) for frame in seed))


def test_a_broken_connection_is_told_to_the_node_of_that_address_only() -> None:
    with Live(3) as live:
        live.formed()
        term = live["n2"].node.consensus.term
        live["n2"].driver.lost("nowhere.test", PORT)
        assert live["n2"].node.consensus.leader == "n1"
        live["n1"].close()
        live.until(lambda: live["n2"].node.consensus.term > term)


def test_a_late_timer_is_told_as_strain() -> None:
    with Live(2) as live:
        one = live.formed()["n1"]
        end = boottime() + 20 * STRAIN_S
        live.act(lambda: until(lambda: boottime() > end, 5.0, "the loop is kept busy"))
        live.until(lambda: one.node.membership.own.strain >= 3, "as much as a second is worth")


def test_an_answer_goes_to_whoever_asked() -> None:
    with Live() as live:
        one = live.formed()["n1"]
        before = one.control.counters["late"]
        one.driver.handle(Ask(one.node.incarnation * INCARNATION_SPAN + 10_000, "failback", dry_run=True))
        assert one.control.counters["late"] == before + 1, "the control plane got a Reply that nobody waits for"


def test_leaving_stops_the_workload_and_says_so_once_done() -> None:
    with Live() as live:
        one = live.formed()["n1"]
        one.guard.stubborn = True
        one.driver.handle(StopRequested())
        live.holds(lambda: not one.left, 0.1)
        assert ("stop", "main", one.guard.leases["main"].token) in one.guard.orders
        one.guard.ends("main", "stopped", -15)
        live.until(lambda: one.left)


def test_a_leader_that_leaves_hands_over() -> None:
    with Live(3) as live:
        live.formed()["n1"].driver.handle(StopRequested())
        live.until(lambda: live["n1"].left)
        live.until(lambda: live["n2"].guard.running() == ["main"])
        assert live["n1"].guard.running() == []


def test_a_closed_driver_hears_and_does_nothing() -> None:
    with Live() as live:
        one = live.formed()["n1"]
        one.disk.held = True
        one.driver.handle(Ask(5, "cancel_failback"))
        one.driver.close()
        orders, term = list(one.guard.orders), one.node.consensus.term
        one.driver.handle(StopRequested())
        one.driver.handle(GuardSays("gone", "main", one.guard.leases["main"].token, cause="exited"))
        one.disk.release()  # A Saved that comes too late.
        live.holds(lambda: one.guard.orders == orders, 1.0)
        assert (one.node.consensus.term, one.left, one.node.owner.leaving) == (term, False, False)
        one.driver.close()


def test_what_the_node_notes_is_logged_at_its_level(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "mltbd"), Live() as live:
        live.formed()
        live["n1"].guard.ends("main", "exited", 7)
        live.until(lambda: live["n1"].node.owner.workloads["main"].restarts == 1)
    told = {(record.levelname, record.getMessage()) for record in caplog.records if record.name == "mltbd"}
    assert ("WARNING", "main: exited with status 7") in told
    assert any(level == "INFO" and text.startswith("leads term") for level, text in told)


def test_seeds_are_greeted_again_until_they_answer() -> None:
    with Live() as live:
        config = replace(live["n1"].node.config, node="late", address="late.test", seeds=("quiet.test:7946",))
        late = live.nodes["late"] = live.act(lambda: LiveNode(live.hub, config, 1.0))
        live.holds(lambda: late.bus.counters["received"] == 0, 0.05)
        heard = listener(live, "quiet.test")
        live.until(lambda: any(isinstance(frame.message, Sync | Pong) for frame in heard))
        found = [m for frame in heard if isinstance(frame.message, Sync) for m in frame.message.records]
        assert [record.node for record in found if isinstance(record, Record)][:1] == ["late"]
