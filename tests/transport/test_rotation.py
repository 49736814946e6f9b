"""Two secrets at a time: nodes at neighbouring steps of a change hear each other, strangers stay out, none flood."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from mltb_transport.bus import DOWN, REFUSED, UP
from mltb_transport.keys import Keyring, new_secret
from mltb_transport.links import REFUSED_AGAIN_S
from mltb_transport.messages import Ping
from mltb_transport.wire import Inbound
from mltb_transport.zmq_bus import BusConfig, ZmqBus
from tests.transport.nodes import LOOPBACK, Node, until

OLD, NEW, FOREIGN = (Keyring.from_secret(new_secret()) for _ in range(3))
STEPS = {"old": (OLD, None), "both": (OLD, NEW), "switched": (NEW, OLD), "new": (NEW, None)}
NEIGHBOURS = [("old", "old"), ("old", "both"), ("both", "both"), ("both", "switched"), ("switched", "switched"),
              ("switched", "new"), ("new", "new")]  # fmt: skip


class Turning(Node):
    """A node at one step of the change."""

    def __init__(self, name: str, step: str, port: int = 0) -> None:
        super().__init__(name, None, port)
        self.bus = ZmqBus(BusConfig(LOOPBACK, self.port, STEPS[step][0], other_keys=STEPS[step][1]))
        self.inbound = Inbound(name, self.bus.counters)


async def hear_each_other(one: Node, two: Node, number: int) -> None:
    """Both ways, by request and by gossip."""
    for sender, receiver in ((one, two), (two, one)):
        await until(lambda: sender.send(receiver, Ping(number)) and receiver.got(Ping(number)), 10.0)  # noqa: B023
        await until(lambda: sender.publish(Ping(number)) and any(  # noqa: B023
            source.path == "gossip" for _, source in receiver.raw), 10.0)  # noqa: B023 # fmt: skip


@pytest.mark.parametrize(("first", "second"), NEIGHBOURS)
def test_neighbouring_steps_hear_each_other(first: str, second: str) -> None:
    async def scene() -> None:
        one, two = Turning("a", first).open(), Turning("b", second).open()
        try:
            one.link(two)
            two.link(one)
            await hear_each_other(one, two, 1)
            assert one.bus.connections() == {(LOOPBACK, two.port): UP}
        finally:
            one.bus.close()
            two.bus.close()

    asyncio.run(scene())


@pytest.mark.parametrize(("first", "second"), [("old", "new"), ("old", "switched")])
def test_a_step_left_out_is_seen_as_a_refusal(first: str, second: str) -> None:
    async def scene() -> None:
        one, two = Turning("a", first).open(), Turning("b", second).open()
        try:
            one.link(two)
            await until(lambda: one.bus.connections() == {(LOOPBACK, two.port): REFUSED})
            assert one.bus.counters["peer_refused"] > 0
            assert one.bus.counters["connections_lost"] == 0, "what never stood is not lost"
            assert not one.send(two, Ping(1))
        finally:
            one.bus.close()
            two.bus.close()

    asyncio.run(scene())


def test_a_link_follows_its_peer_through_the_whole_change() -> None:
    async def scene() -> None:
        watcher = Turning("a", "both").open()
        port = 0
        try:
            for number, step in enumerate(["old", "both", "switched"], 1):
                peer = Turning("b", step, port).open()
                port = peer.port
                watcher.link(peer)
                peer.link(watcher)
                await hear_each_other(watcher, peer, number)
                peer.bus.close()
                await until(lambda: DOWN in watcher.bus.connections().values())
            assert watcher.bus.counters["connections_lost"] == 3
        finally:
            watcher.bus.close()

    asyncio.run(scene())


def test_two_names_of_one_peer_change_together() -> None:
    async def scene() -> None:
        one, two = Turning("a", "both").open(), Turning("b", "switched").open()
        try:
            for name in (LOOPBACK, "localhost"):
                one.bus.link(name, two.port)
            await until(lambda: set(one.bus.connections().values()) == {UP}, 10.0)
            await until(lambda: two.publish(Ping(1)) and any(source.path == "gossip" for _, source in one.raw), 10.0)
        finally:
            one.bus.close()
            two.bus.close()

    asyncio.run(scene())


def test_a_stranger_is_tried_no_more_often_than_libzmq_does_by_itself() -> None:
    async def scene() -> None:
        one = Turning("a", "both").open()
        other = ZmqBus(BusConfig(LOOPBACK, (peer := Node("b", FOREIGN)).port, FOREIGN))
        other.open(lambda *_: None)
        try:
            one.link(peer)
            link = next(iter(one.bus._opened().by_address.values()))
            keys = []
            for _ in range(3):
                tried_at = link.tried_at
                await until(lambda: link.tried_at != tried_at, 10.0)  # noqa: B023
                keys.append(link.key)
                assert not tried_at or link.tried_at - tried_at >= REFUSED_AGAIN_S
            assert all(one != two for one, two in itertools.pairwise(keys)), "each in turn"
        finally:
            one.bus.close()
            other.close()
            peer.bus.close()

    asyncio.run(scene())
