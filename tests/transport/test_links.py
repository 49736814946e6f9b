"""Links by name: the look-up is ours, follows a name that moves, and ends with the link."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import zmq

from mltb_transport.bus import DOWN, REFUSED, UP, new_counters
from mltb_transport.links import REFUSED_AGAIN_S, RESOLVE_AGAIN_S, RESOLVE_ANYWAY_S, Links, is_numeric
from mltb_transport.sockets import LINK_EVENTS, Drain, RawSocket, drop_unsent, event_of, set_common, set_tcp, watch
from tests.transport.nodes import until

PORT = 7946


class Names(asyncio.SelectorEventLoop):
    """An event loop with a resolver and a clock of its own."""

    addresses: dict[str, str]
    """Of each name; several with blanks between them."""
    lookups = 0
    ahead_s = 0.0

    def time(self) -> float:
        return super().time() + self.ahead_s

    async def run_in_executor(self, _: Any, call: Any) -> Any:  # type: ignore[override]
        host, port = call.args[:2]
        if host not in self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "name unknown")
        self.lookups += 1
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in self.addresses[host].split()]


def run(scene: Any, addresses: dict[str, str]) -> None:
    def loop() -> Names:
        made = Names()
        made.addresses = addresses
        return made

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(scene)


@contextlib.asynccontextmanager
async def links(
    counters: dict[str, int], exhausted: Callable[[], bool] = lambda: False, keys: int = 1
) -> AsyncIterator[tuple[Links, Names]]:
    """`exhausted`: there is no descriptor for a further dealer."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Names)
    with zmq.Context() as context, context.socket(zmq.SUB) as subscriber:

        def dealer(key: int) -> RawSocket:
            assert key in range(keys)
            if exhausted():
                raise zmq.ZMQError(errno.EMFILE)
            made = context.socket(zmq.DEALER)
            set_common(made)
            set_tcp(made)
            return made

        def watched(socket: RawSocket, told: Callable[[int], None]) -> Drain:
            drain = Drain(watch(context, socket, LINK_EVENTS), lambda parts: told(event_of(parts)))
            drain.start(loop)
            return drain

        set_common(subscriber)
        set_tcp(subscriber)
        made = Links(loop, subscriber, dealer, watched, lambda *_: None, counters, keys, lambda *_: None)
        try:
            yield made, loop
        finally:
            made.close()


@contextlib.contextmanager
def listener(address: str) -> Any:
    """Stands for a peer: takes what comes to the request port."""
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.linger = 0
        router.bind(f"tcp://{address}:{PORT + 1}")
        yield router


def test_a_link_follows_its_name_to_another_address() -> None:
    async def scene() -> None:
        async with links(new_counters()) as (made, loop):
            made.add("peer", PORT)
            link = made.by_address["peer", PORT]
            await until(lambda: link.connected == "127.0.0.77")
            loop.addresses["peer"] = "127.0.0.78"
            link.failed = True
            made.sweep()
            assert link.lookup is None  # not yet: it was looked up just now
            loop.ahead_s = RESOLVE_AGAIN_S
            made.sweep()
            await until(lambda: link.connected == "127.0.0.78")
            with listener("127.0.0.78") as peer:
                await until(lambda: not drop_unsent(link.dealer, [b"here"]))
                await until(lambda: peer.poll(0))

    run(scene(), {"peer": "127.0.0.77"})


def test_the_name_of_a_link_that_works_is_looked_up_ever_more_rarely() -> None:
    async def scene() -> None:
        async with links(new_counters()) as (made, loop):
            made.add("peer", PORT)
            link = made.by_address["peer", PORT]
            await until(lambda: link.connected)
            for second in range(1, 301):
                loop.ahead_s = float(second)
                made.sweep()
                await until(lambda: link.lookup is None)
            assert 300 / RESOLVE_ANYWAY_S - 1 <= loop.lookups <= 300 / RESOLVE_ANYWAY_S + 5
            assert link.connected == "127.0.0.77"

    run(scene(), {"peer": "127.0.0.77"})


def test_a_link_to_whoever_has_the_address_now_follows_the_name() -> None:
    """The name moved, and behind its old address another node answers: nothing ever fails."""

    async def scene() -> None:
        async with links(new_counters()) as (made, loop):
            with listener("127.0.0.77"), listener("127.0.0.78") as right:
                made.add("peer", PORT)
                link = made.by_address["peer", PORT]
                await until(lambda: link.state == UP)
                loop.addresses["peer"] = "127.0.0.78"
                loop.ahead_s = RESOLVE_ANYWAY_S
                made.sweep()
                await until(lambda: link.connected == "127.0.0.78")
                await until(lambda: not drop_unsent(link.dealer, [b"here"]))
                await until(lambda: right.poll(0))

    run(scene(), {"peer": "127.0.0.77"})


def test_a_link_made_anew_is_looked_up_soon() -> None:
    """That is when somebody else may have taken the address."""

    async def scene() -> None:
        async with links(new_counters()) as (made, _):
            with listener("127.0.0.77"):
                made.add("peer", PORT)
                link = made.by_address["peer", PORT]
                await until(lambda: link.state == UP)
            await until(lambda: link.state == DOWN)
            link.patience_s = RESOLVE_ANYWAY_S
            with listener("127.0.0.77"):
                await until(lambda: link.state == UP)
                assert link.patience_s == RESOLVE_AGAIN_S

    run(scene(), {"peer": "127.0.0.77"})


def test_of_several_addresses_one_that_serves_is_kept_and_one_that_does_not_is_left() -> None:
    async def scene() -> None:
        async with links(new_counters()) as (made, loop):
            made.add("peer", PORT)
            link = made.by_address["peer", PORT]
            await until(lambda: link.connected == "127.0.0.77")
            loop.addresses["peer"] = "127.0.0.78 127.0.0.77"  # A resolver turns them round.
            loop.ahead_s += RESOLVE_ANYWAY_S
            made.sweep()
            await until(lambda: link.lookup is None)
            assert link.connected == "127.0.0.77"
            link.failed = True
            loop.ahead_s += RESOLVE_AGAIN_S
            made.sweep()
            await until(lambda: link.connected == "127.0.0.78")

    run(scene(), {"peer": "127.0.0.77"})


def test_a_name_that_becomes_known_later_is_found() -> None:
    async def scene() -> None:
        counters = new_counters()
        async with links(counters) as (made, loop):
            made.add("peer", PORT)
            link = made.by_address["peer", PORT]
            await until(lambda: counters["resolve_failed"] == 1)
            loop.addresses["peer"] = "127.0.0.77"
            loop.ahead_s = RESOLVE_AGAIN_S
            made.sweep()
            await until(lambda: link.connected == "127.0.0.77")

    run(scene(), {})


def test_a_link_removed_during_its_look_up_stays_removed() -> None:
    async def scene() -> None:
        async with links(new_counters()) as (made, _):
            made.add("peer", PORT)
            link = made.by_address["peer", PORT]
            lookup = link.lookup
            assert lookup is not None
            made.remove("peer", PORT)
            await asyncio.wait([lookup])
            assert lookup.cancelled()
            assert link.connected == ""
            assert made.by_address == {}

    run(scene(), {"peer": "127.0.0.77"})


def test_renewing_looks_the_name_up_too() -> None:
    async def scene() -> None:
        async with links(new_counters()) as (made, loop):
            made.add("peer", PORT)
            link = made.by_address["peer", PORT]
            await until(lambda: link.connected == "127.0.0.77")
            loop.addresses["peer"] = "127.0.0.78"
            made.renew(link)
            assert link.connected == "127.0.0.77"
            await until(lambda: link.connected == "127.0.0.78")

    run(scene(), {"peer": "127.0.0.77"})


def test_a_first_link_without_a_descriptor_is_made_once_there_is_one() -> None:
    async def scene() -> None:
        counters, full = new_counters(), [True]
        async with links(counters, lambda: full[0]) as (made, _):
            for host in ("127.0.0.77", "127.0.0.78", "127.0.0.79"):
                made.add(host, PORT)
            made.remove("127.0.0.78", PORT)
            made.sweep()
            assert (made.by_address, counters["links_refused"]) == ({}, 4), "where one cannot be made the rest wait"
            assert made.has_room("127.0.0.79", PORT, 2)
            assert not made.has_room("127.0.0.80", PORT, 2)
            full[0] = False
            with listener("127.0.0.77"):
                made.sweep()
                assert made.by_address.keys() == {("127.0.0.77", PORT), ("127.0.0.79", PORT)}
                await until(lambda: made.by_address["127.0.0.77", PORT].state == UP)
            assert counters["links_refused"] == 4
            made.sweep()
            assert len(made.by_address) == 2

    run(scene(), {})


def test_a_link_that_cannot_be_made_anew_works_on_until_it_can() -> None:
    async def scene() -> None:
        counters, full = new_counters(), [False]
        async with links(counters, lambda: full[0]) as (made, _):
            with listener("127.0.0.77") as peer:
                made.add("127.0.0.77", PORT)
                link = made.by_address["127.0.0.77", PORT]
                await until(lambda: link.state == UP)
                full[0], before = True, link.dealer
                made.renew(link)
                made.sweep()
                assert counters["links_refused"] == 2
                assert (link.dealer, link.state) == (before, UP)
                await until(lambda: not drop_unsent(link.dealer, [b"here"]))
                await until(lambda: peer.poll(0))
                full[0] = False
                made.sweep()
                assert (link.dealer is before, link.state) == (False, DOWN)
                await until(lambda: link.state == UP)
                before = link.dealer
                made.sweep()
                assert (link.dealer, counters["links_refused"]) == (before, 2)

    run(scene(), {})


def test_the_other_secret_is_tried_as_soon_as_it_can_be() -> None:
    async def scene() -> None:
        counters, full = new_counters(), [False]
        async with links(counters, lambda: full[0], keys=2) as (made, loop):
            made.add("127.0.0.77", PORT)
            link = made.by_address["127.0.0.77", PORT]
            link.state, full[0] = REFUSED, True
            for _ in range(3):
                loop.ahead_s += REFUSED_AGAIN_S
                made.sweep()
                await asyncio.sleep(0)
            assert (link.key, counters["links_refused"]) == (0, 3)
            full[0] = False
            loop.ahead_s += REFUSED_AGAIN_S
            made.sweep()
            await asyncio.sleep(0)
            assert (link.key, counters["links_refused"]) == (1, 3)

    run(scene(), {})


@pytest.mark.parametrize(
    ("address", "numeric"),
    [("10.0.0.1", True), ("::1", True), ("fe80::1%lo", True), ("localhost", False), ("10.0.0", False), ("", False)],
)
def test_numeric_addresses(address: str, numeric: bool) -> None:
    assert is_numeric(address) == numeric


def output_of(code: str) -> str:
    """What a process of its own prints; its limits die with it."""
    path = ":".join(part for part in sys.path if part)
    head = "import asyncio, resource\nfrom mltb_transport.zmq_bus import BusConfig, ZmqBus\n"
    run = subprocess.run(
        [sys.executable, "-c", head + code], env={"PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    return run.stdout


def test_running_out_of_file_descriptors_refuses_links_and_nothing_else() -> None:
    refused = output_of("""
from tests.transport.nodes import LOOPBACK, free_port, ignore
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
async def play():
    bus = ZmqBus(BusConfig(LOOPBACK, free_port()))
    bus.open(ignore)
    for port in range(1, 400, 2):
        bus.link(LOOPBACK, port)
    print(bus.counters["links_refused"])
    bus.close()
asyncio.run(play())
""")
    assert 0 < int(refused) < 200


def test_running_out_of_file_descriptors_leaves_links_that_were_to_be_made_anew() -> None:
    told = output_of("""
import os, socket
from tests.transport.nodes import LOOPBACK, free_port, ignore
ports = [free_port() for _ in range(3)]
servers = [socket.create_server((LOOPBACK, port + side)) for port in ports for side in (0, 1)]
async def play():
    bus = ZmqBus(BusConfig(LOOPBACK, free_port()))
    bus.open(ignore)
    for port in ports:
        bus.link(LOOPBACK, port)
    peers = [await asyncio.to_thread(server.accept) for server in servers]  # From now on nothing is opened or closed.
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
    held = []
    try:
        while True:
            held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    for port in ports:
        bus.relink(LOOPBACK, port)
    print(bus.counters["links_refused"], [bus.send(LOOPBACK, port, b"") for port in ports], len(peers))
    bus.close()
asyncio.run(play())
""")
    assert told == f"3 {[False] * 3} 6\n"


def test_a_bus_without_file_descriptors_says_so() -> None:
    told = output_of("""
from mltb_transport.bus import BindError
from tests.transport.nodes import LOOPBACK, free_port, ignore
async def play():
    bus = ZmqBus(BusConfig(LOOPBACK, free_port()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))
    try:
        bus.open(ignore)
    except BindError as error:
        print(error, error.hint)
asyncio.run(play())
""")
    assert told.startswith("cannot open the sockets: too many open files let it have more: `ulimit -n`")
