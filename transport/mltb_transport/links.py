"""The connections of one bus to its peers: a DEALER each, one SUB for all; names are looked up apart."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field

import zmq

from mltb_transport.addresses import look_up
from mltb_transport.bus import DOWN, REFUSED, UP
from mltb_transport.sockets import Drain, RawSocket, endpoint

RESOLVE_AGAIN_S = 2.0
"""Between two look-ups of the name of a peer that does not answer: its address may have changed."""
RESOLVE_ANYWAY_S = 30.0
"""The most between two look-ups of one that does: where addresses are given out anew, another node may be there."""
REFUSED_AGAIN_S = 1.0
"""Between two tries of a peer that ends our handshakes. libzmq tries by itself, but not after a key was denied."""


def is_numeric(address: str) -> bool:
    """Whether this is an IP address, not a name."""
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True


@dataclass(slots=True)
class Link:
    """A peer by the address it was given by, and the connections to it."""

    address: str
    port: int
    dealer: RawSocket
    watch: Drain  # tells what happens to the dealer's connection
    key: int = 0  # which of our secrets this peer has taken, or is tried with
    state: str = DOWN
    tried_at: float = 0.0  # since when it is tried with this key
    connected: str = ""  # numeric address in use; empty until the name is known
    failed: bool = False  # the last send was dropped
    stale: bool = False  # was to be made anew, and there was no descriptor for it
    resolved_at: float = 0.0
    patience_s: float = RESOLVE_AGAIN_S  # until the name of a peer that answers is looked up again
    lookup: asyncio.Task[None] | None = field(default=None, repr=False)


class Links:
    """Connects, reconnects and disconnects.

    While a secret is being changed there are two: a peer that ends our handshakes is tried with the other one.
    `new_dealer` makes a socket that uses the secret of that number, `dress` has one use it from its next connection on.
    Names never reach libzmq: it would look them up in its I/O thread and hold up every other connection.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        subscriber: RawSocket,
        new_dealer: Callable[[int], RawSocket],
        watch: Callable[[RawSocket, Callable[[int], None]], Drain],
        on_lost: Callable[[str, int], None],
        counters: dict[str, int],
        keys: int,
        dress: Callable[[RawSocket, int], None],
    ) -> None:
        self.by_address: dict[tuple[str, int], Link] = {}
        self._loop = loop
        self._subscriber = subscriber
        self._new_dealer = new_dealer
        self._watch = watch
        self._on_lost = on_lost
        self._counters = counters
        self._keys = keys
        self._dress = dress
        self._waiting: set[tuple[str, int]] = set()
        """Links that there was no descriptor for."""
        self._subscriptions: dict[str, int] = {}  # two names of one node share a subscription

    def has_room(self, address: str, port: int, links_max: int) -> bool:
        """Whether one to this address makes no more than so many, those that wait for a descriptor among them."""
        return len({(address, port), *self.by_address, *self._waiting}) <= links_max

    def add(self, address: str, port: int) -> None:
        """Connect as soon as the numeric address is known; without a descriptor in a later sweep."""
        try:
            dealer, watch = self._open(0, lambda event: self._told(link, event))
        except zmq.ZMQError:  # This peer has to wait, the others work on.
            self._counters["links_refused"] += 1
            self._waiting.add((address, port))
            return
        self._waiting.discard((address, port))
        link = Link(address, port, dealer, watch)
        self.by_address[address, port] = link
        if is_numeric(address):
            self._connect(link, address)
        else:
            self._look_up(link)

    def renew(self, link: Link) -> None:
        """Drop the connections and what waits in them, connect anew at once; without a descriptor in a later sweep."""
        if not self._renewed(link, link.key):
            link.stale = True

    def _renewed(self, link: Link, key: int) -> bool:
        """Done, or counted: nothing of the link is given up before there is a dealer to take its place."""
        try:
            dealer, watch = self._open(key, lambda event: self._told(link, event))
        except zmq.ZMQError:
            self._counters["links_refused"] += 1
            return False
        numeric = link.connected
        _unwatch(link)  # What we cut ourselves is no loss.
        self._disconnect(link)
        link.dealer.close()
        link.dealer, link.watch, link.key, link.stale = dealer, watch, key, False
        if link.state == UP:
            link.state = DOWN
        if numeric:
            self._connect(link, numeric)
        if not is_numeric(link.address):
            self._look_up(link)
        return True

    def _open(self, key: int, told: Callable[[int], None]) -> tuple[RawSocket, Drain]:
        """A dealer and its watch, or zmq.ZMQError and neither."""
        dealer = self._new_dealer(key)
        try:
            return dealer, self._watch(dealer, told)
        except zmq.ZMQError:
            dealer.close()
            raise

    def remove(self, address: str, port: int) -> None:
        """Drop the connections."""
        self._waiting.discard((address, port))
        link = self.by_address.pop((address, port), None)
        if link is not None:
            self._forget(link)

    def sweep(self) -> None:
        """Now and then: let libzmq do what it does in calls only, look up the names of silent peers."""
        now = self._loop.time()
        for link in self.by_address.values():
            link.dealer.getsockopt(zmq.EVENTS)
            link.watch.recheck()
            if link.state == REFUSED and now - link.tried_at >= REFUSED_AGAIN_S:
                self._loop.call_soon(self._try_next, link)
            elif link.stale:
                self.renew(link)
            if is_numeric(link.address) or link.lookup is not None:
                continue
            patience_s = RESOLVE_AGAIN_S if link.failed or not link.connected else link.patience_s
            if now - link.resolved_at >= patience_s:
                link.patience_s = min(2 * patience_s, RESOLVE_ANYWAY_S)
                self._look_up(link)
        for where in tuple(self._waiting):
            self.add(*where)
            if where in self._waiting:
                break

    def close(self) -> None:
        """Drop everything. The dealers keep the linger time they have."""
        self._waiting.clear()
        for link in self.by_address.values():
            self._forget(link)
        self.by_address.clear()

    def _told(self, link: Link, event: int) -> None:
        """Something happened to its connection."""
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            link.state, link.patience_s = UP, RESOLVE_AGAIN_S  # With whom, only the name can tell.
        elif event == zmq.EVENT_DISCONNECTED:
            if link.state == UP:
                link.state = DOWN
                self._on_lost(link.address, link.port)
        else:
            self._counters["peer_refused"] += 1
            link.state = REFUSED
            if self._keys > 1 and self._loop.time() - link.tried_at >= REFUSED_AGAIN_S:
                self._loop.call_soon(self._try_next, link)  # Not here: it closes the socket we are called for.

    def _try_next(self, link: Link) -> None:
        if self.by_address.get((link.address, link.port)) is not link or link.state != REFUSED:
            return
        link.tried_at = self._loop.time()
        if not self._renewed(link, (link.key + 1) % self._keys):
            return  # It stays refused, so the sweep comes back to it.
        if link.connected and self._subscriptions[endpoint(link.connected, link.port)] > 1:
            # Another name of the same node shares the subscription: it has to change as well.
            _disconnect(self._subscriber, endpoint(link.connected, link.port))
            self._subscribe(link)

    def _subscribe(self, link: Link) -> None:
        self._dress(self._subscriber, link.key)
        _connect(self._subscriber, link.connected, link.port)

    def _forget(self, link: Link) -> None:
        if link.lookup is not None:
            link.lookup.cancel()
            link.lookup = None
        _unwatch(link)
        self._disconnect(link, keep_dealer=True)
        link.dealer.close()

    def _look_up(self, link: Link) -> None:
        if link.lookup is None:
            link.lookup = self._loop.create_task(self._resolve(link))

    async def _resolve(self, link: Link) -> None:
        try:
            numeric = _chosen(await look_up(self._loop, link.address, link.port), link)
        except (OSError, ValueError):  # ValueError: not a host name at all
            self._counters["resolve_failed"] += 1
            numeric = ""
        link.lookup = None
        link.resolved_at = self._loop.time()
        if numeric and numeric != link.connected:
            self._disconnect(link)
            self._connect(link, numeric)

    def _connect(self, link: Link, numeric: str) -> None:
        link.connected = numeric
        gossip = endpoint(numeric, link.port)
        users = self._subscriptions.get(gossip, 0)
        self._subscriptions[gossip] = users + 1
        try:
            if users == 0:
                self._subscribe(link)
            _connect(link.dealer, numeric, link.port + 1)
        except zmq.ZMQError:  # Whatever a peer claims its address to be must not stop us.
            self._counters["links_refused"] += 1

    def _disconnect(self, link: Link, keep_dealer: bool = False) -> None:
        if not link.connected:
            return
        gossip = endpoint(link.connected, link.port)
        users = self._subscriptions.pop(gossip) - 1
        if users:
            self._subscriptions[gossip] = users
        else:
            _disconnect(self._subscriber, gossip)
        if not keep_dealer:  # A disconnect would discard what a dealer about to be closed may still send.
            _disconnect(link.dealer, endpoint(link.connected, link.port + 1))
        link.connected = ""


def _chosen(addresses: list[str], link: Link) -> str:
    """Of several the one in use while it serves, else the next: a resolver names them in any order."""
    if link.connected not in addresses:
        return addresses[0]
    return addresses[(addresses.index(link.connected) + link.failed) % len(addresses)]


def _unwatch(link: Link) -> None:
    link.watch.stop()
    with contextlib.suppress(zmq.ZMQError):
        link.dealer.disable_monitor()
    link.watch.socket.close()


def _connect(socket: RawSocket, numeric: str, port: int) -> None:
    socket.setsockopt(zmq.IPV6, int(":" in numeric))
    socket.connect(endpoint(numeric, port))


def _disconnect(socket: RawSocket, where: str) -> None:
    # ENOENT: libzmq has given the endpoint up by itself.
    with contextlib.suppress(zmq.ZMQError):
        socket.disconnect(where)
