"""The twin keeps the promises of the real bus, in an order that never varies."""

from __future__ import annotations

import asyncio

import pytest

from mltb_transport.bus import LINKS_MAX, BindError, Route, Source
from mltb_transport.limits import FRAME_BYTES_MAX, SEND_QUEUE_MAX
from tests.transport.memory_bus import MemoryBus, MemoryHub

A, B, C = ("10.0.0.1", 7946), ("10.0.0.2", 7946), ("10.0.0.3", 7946)


class Site:
    """Three linked buses and what each received."""

    def __init__(self, hub: MemoryHub) -> None:
        self.got: dict[tuple[str, int], list[tuple[bytes, Source]]] = {A: [], B: [], C: []}
        self.bus = {here: MemoryBus(hub, *here) for here in (A, B, C)}
        for here, bus in self.bus.items():
            bus.open(lambda payload, source, here=here: self.got[here].append((payload, source)))  # type: ignore[misc]
            for there in (A, B, C):
                if there != here:
                    bus.link(*there)

    def payloads(self, here: tuple[str, int]) -> list[bytes]:
        return [payload for payload, _ in self.got[here]]


def test_requests_gossip_and_no_echo() -> None:
    hub = MemoryHub()
    site = Site(hub)
    assert site.bus[A].send(*B, b"vote")
    assert site.bus[A].publish(b"gossip")
    assert site.payloads(B) == []  # nothing moves by itself
    assert hub.deliver_all() == 3
    assert site.payloads(B) == [b"vote", b"gossip"]
    assert [source.path for _, source in site.got[B]] == ["request", "gossip"]
    assert site.payloads(C) == [b"gossip"]
    assert site.payloads(A) == []


def test_a_cut_is_one_way_and_loses_what_is_under_way() -> None:
    hub = MemoryHub()
    site = Site(hub)
    assert site.bus[A].send(*B, b"under way")
    hub.cut(A, B)
    assert not site.bus[A].send(*B, b"dropped")
    assert site.bus[B].send(*A, b"the other way")
    hub.deliver_all()
    assert site.payloads(B) == []
    assert site.payloads(A) == [b"the other way"]
    hub.heal(A, B)
    assert site.bus[A].send(*B, b"healed")
    hub.deliver_all()
    assert site.payloads(B) == [b"healed"]


def test_the_same_limits_as_the_real_bus() -> None:
    hub = MemoryHub()
    site = Site(hub)
    bus = site.bus[A]
    for _ in range(SEND_QUEUE_MAX):
        assert bus.send(*B, b"x")
    assert not bus.send(*B, b"one too many")
    assert bus.counters["send_dropped"] == 1
    assert not bus.send(*B, bytes(FRAME_BYTES_MAX + 1))
    assert not bus.publish(bytes(FRAME_BYTES_MAX + 1))
    assert not bus.reply(Route("local", b"client"), bytes(FRAME_BYTES_MAX + 1))
    assert bus.counters["oversized"] == 3
    assert not bus.send("10.0.0.9", 1, b"x")
    assert bus.counters["send_unlinked"] == 1
    for number in range(LINKS_MAX):
        bus.link("10.1.0.0", 1 + number)
    assert bus.counters["links_refused"] == 2


def test_an_address_is_taken_once_and_free_again_after_close() -> None:
    hub = MemoryHub()
    site = Site(hub)
    with pytest.raises(BindError, match="address already in use"):
        MemoryBus(hub, *A).open(lambda *_: None)
    site.bus[A].close()
    site.bus[A].close()
    assert not site.bus[B].send(*A, b"gone")
    again = MemoryBus(hub, *A)
    again.open(lambda *_: None)
    assert site.bus[B].send(*A, b"back")
    site.bus[B].relink(*A)
    site.bus[B].unlink(*A)
    assert not site.bus[B].send(*A, b"unlinked")


def test_control_clients_ask_and_are_answered() -> None:
    hub = MemoryHub()
    site = Site(hub)
    assert hub.ask(A, b"status", role="viewer", client="cli")
    hub.deliver_all()
    payload, source = site.got[A][0]
    assert (payload, source.path, source.role) == (b"status", "request", "viewer")
    assert source.route is not None
    assert site.bus[A].reply(source.route, b"fine")
    assert hub.replies("cli") == [b"fine"]
    assert hub.replies("cli") == []
    assert not site.bus[A].reply(Route("local", b"nobody"), b"fine")
    assert site.bus[A].counters["reply_dropped"] == 1


def test_a_loop_may_drive_it() -> None:
    async def play() -> None:
        loop = asyncio.get_running_loop()
        site = Site(MemoryHub(loop.call_soon))
        site.bus[A].publish(b"gossip")
        await asyncio.sleep(0)
        assert site.payloads(B) == site.payloads(C) == [b"gossip"]

    asyncio.run(play())


def test_nodes_that_never_rest_are_found_out() -> None:
    hub = MemoryHub()
    bus = MemoryBus(hub, *A)

    def echo(payload: bytes, source: Source) -> None:
        del source
        bus.send(*A, payload)

    bus.open(echo)
    bus.link(*A)
    bus.send(*A, b"again")
    with pytest.raises(RuntimeError, match="no rest after 50 payloads"):
        hub.deliver_all(limit=50)
