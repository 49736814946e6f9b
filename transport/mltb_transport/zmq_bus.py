"""The Bus over ZeroMQ: four sockets and one per peer, read by the event loop; no thread, no coroutine."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Callable
from dataclasses import dataclass

import zmq

from mltb_transport.addresses import bindable, check_exposed
from mltb_transport.bus import LINKS_MAX, BindError, OnFrame, OnLost, Route, Source, fits, new_counters
from mltb_transport.keys import Keyring
from mltb_transport.limits import PORT_MAX
from mltb_transport.links import Links
from mltb_transport.local_socket import LocalSocket
from mltb_transport.sockets import (
    HANDSHAKE_FAILED,
    LINK_EVENTS,
    Drain,
    RawContext,
    RawSocket,
    RoleDrain,
    check_libzmq,
    drop_unsent,
    endpoint,
    event_of,
    set_common,
    set_tcp,
    watch,
)
from mltb_transport.zap import CONTROL_DOMAIN, GOSSIP_DOMAIN, Gatekeeper, allowed_keys

SWEEP_S = 1.0
"""The timer that catches a missed edge and lets libzmq reap dead connections."""
FLUSH_MS = 250
"""How long `close` waits for the last words to leave."""
SOCKETS_PER_LINK = 3
"""The dealer, the end of its monitor that libzmq writes to, and the end that we read."""
SPARE_SOCKETS = 32


@dataclass(frozen=True, slots=True)
class BusConfig:
    """Where a bus listens: gossip on `port`, requests on `port` + 1, control clients on `local_path` as well.

    `other_keys` are taken as well while the secret is being changed: from peers that use them already, or still.
    `keys`: None leaves TCP open to everybody, which is refused beyond loopback unless `insecure`.
    `local_path`: empty for none.
    """

    address: str
    port: int
    keys: Keyring | None = None
    local_path: str = ""
    insecure: bool = False
    links_max: int = LINKS_MAX
    other_keys: Keyring | None = None


class ZmqBus:
    """See Bus. Open it inside a running event loop; everything happens in that loop's thread."""

    def __init__(self, config: BusConfig) -> None:
        check_libzmq(zmq.zmq_version_info())
        self.counters = new_counters()
        self._config = config
        self._rings = [keys for keys in (config.keys, config.other_keys) if keys is not None]
        self._on_frame: OnFrame = _ignore
        self._on_lost: OnLost | None = None
        self.on_turn: Callable[[], None] = _nothing
        """Called when the requests that were there together have all been delivered."""
        self._context: RawContext | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._local = LocalSocket(config.local_path) if config.local_path else None
        self._sockets: list[RawSocket] = []
        self._monitors: list[RawSocket] = []
        self._drains: list[Drain] = []
        self._routers: dict[str, Drain] = {}
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._publisher: RawSocket | None = None
        self._links: Links | None = None

    def open(self, on_frame: OnFrame, on_lost: OnLost | None = None) -> None:
        """Bind, then deliver. Raises BindError (InsecureBind); nothing stays open in that case."""
        config = self._config
        check_exposed(config.address, secured=config.keys is not None or config.insecure)
        if not 1 <= config.port <= PORT_MAX:
            raise BindError(f"port {config.port} is not between 1 and {PORT_MAX}")
        self._loop = asyncio.get_running_loop()
        self._on_frame, self._on_lost = on_frame, on_lost
        self._context = zmq.Context()
        self._context.set(zmq.MAX_SOCKETS, SOCKETS_PER_LINK * config.links_max + SPARE_SOCKETS)
        try:
            self._open_sockets(self._context, self._loop)
        except zmq.ZMQError as error:
            self.close()
            hint = "let it have more: `ulimit -n`, or LimitNOFILE= of its unit" if error.errno == errno.EMFILE else ""
            raise BindError(f"cannot open the sockets: {error.strerror.lower()}", hint) from error
        except BaseException:
            self.close()
            raise
        for drain in self._drains:
            drain.start(self._loop)
        self._sweep_timer = self._loop.call_later(SWEEP_S, self._sweep)

    def link(self, address: str, port: int) -> None:
        """Keep connections to the node at this address."""
        links = self._opened()
        if (address, port) in links.by_address:
            return
        if not links.has_room(address, port, self._config.links_max) or not 1 <= port <= PORT_MAX or not address:
            self.counters["links_refused"] += 1
            return
        links.add(address, port)

    def relink(self, address: str, port: int) -> None:
        """Connect anew at once; also a first `link`."""
        links = self._opened()
        link = links.by_address.get((address, port))
        if link is None:
            self.link(address, port)
        else:
            links.renew(link)

    def unlink(self, address: str, port: int) -> None:
        """Drop the connections."""
        self._opened().remove(address, port)

    def send(self, address: str, port: int, payload: bytes) -> bool:
        """To the linked node; False: dropped and counted."""
        link = self._opened().by_address.get((address, port))
        if link is None:
            self.counters["send_unlinked"] += 1
            return False
        if not fits(payload, self.counters):
            return False
        link.failed = drop_unsent(link.dealer, [payload])
        return self._count_sent(link.failed, "send_dropped")

    def publish(self, payload: bytes) -> bool:
        """To every node that linked to us. What a slow one misses is dropped by libzmq, uncounted."""
        if not fits(payload, self.counters) or self._publisher is None:
            return False
        return self._count_sent(drop_unsent(self._publisher, [payload]), "send_dropped")

    def reply(self, route: Route, payload: bytes) -> bool:
        """To the control client that asked by this route."""
        if not fits(payload, self.counters):
            return False
        drain = self._routers.get(route.socket)
        if drain is None:
            self.counters["reply_dropped"] += 1
            return False
        dropped = drop_unsent(drain.socket, [route.peer, payload])
        drain.recheck()
        return self._count_sent(dropped, "reply_dropped")

    def connections(self) -> dict[tuple[str, int], str]:
        """Every link by its address: UP, DOWN or REFUSED."""
        return {where: link.state for where, link in self._opened().by_address.items()}

    def close(self) -> None:
        """Wait up to FLUSH_MS for the last words to leave, then close everything. Again: no effect."""
        context, self._context = self._context, None
        if context is None:
            return
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        for drain in self._drains:
            drain.stop()
        if self._links is not None:
            for link in self._links.by_address.values():
                link.dealer.setsockopt(zmq.LINGER, FLUSH_MS)
            self._links.close()
        for socket in self._monitors:
            socket.close()
        for socket in self._sockets:
            with contextlib.suppress(zmq.ZMQError):
                socket.disable_monitor()
            socket.close(linger=FLUSH_MS)
        context.term()
        if self._local is not None:
            self._local.release()

    def _opened(self) -> Links:
        if self._links is None:
            raise RuntimeError("the bus is not open")
        return self._links

    # -- opening ---------------------------------------------------------------------------------------------

    def _open_sockets(self, context: RawContext, loop: asyncio.AbstractEventLoop) -> None:
        config = self._config
        address = bindable(config.address)
        if config.keys is not None:
            gatekeeper = Gatekeeper(allowed_keys(*self._rings), self.counters).open(context)
            self._drains.append(gatekeeper)
            self._sockets.append(gatekeeper.socket)
        if self._local is not None:
            self._local.acquire()
            local = self._socket(zmq.ROUTER)
            local.setsockopt(zmq.ROUTER_MANDATORY, 1)
            self._local.bind(local)
            self._routers["local"] = Drain(local, self._on_local, self._turn_over)
        router = self._server(zmq.ROUTER, CONTROL_DOMAIN)
        router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        _bind(router, address, config.port + 1)
        self._routers["request"] = RoleDrain(router, self._on_request, self._turn_over)
        self._publisher = self._server(zmq.PUB, GOSSIP_DOMAIN)
        _bind(self._publisher, address, config.port)
        subscriber = self._client(zmq.SUB)
        self._sockets.append(subscriber)
        subscriber.setsockopt(zmq.SUBSCRIBE, b"")
        self._drains += [*self._routers.values(), Drain(subscriber, self._on_gossip)]
        self._links = Links(
            loop,
            subscriber,
            lambda key: self._client(zmq.DEALER, key),
            self._watch_link,
            self._lost,
            self.counters,
            keys=max(1, len(self._rings)),
            dress=self._dress,
        )

    def _socket(self, kind: int) -> RawSocket:
        """A socket that `close` closes."""
        socket = self._bare(kind)
        self._sockets.append(socket)
        return socket

    def _bare(self, kind: int) -> RawSocket:
        assert self._context is not None, "the bus is not open"
        socket = self._context.socket(kind)
        set_common(socket)
        return socket

    def _server(self, kind: int, domain: str) -> RawSocket:
        socket = self._socket(kind)
        set_tcp(socket)
        if self._config.keys is not None:
            socket.setsockopt(zmq.CURVE_SERVER, 1)
            socket.setsockopt(zmq.CURVE_SECRETKEY, self._config.keys.server.secret)
            socket.setsockopt(zmq.ZAP_DOMAIN, domain.encode())
        self._watch_handshakes(socket)
        return socket

    def _client(self, kind: int, key: int = 0) -> RawSocket:
        socket = self._bare(kind)
        set_tcp(socket)
        if kind == zmq.DEALER:
            socket.setsockopt(zmq.RCVHWM, 1)  # Peers answer through their own DEALER: nothing is read here.
        self._dress(socket, key)
        return socket

    def _dress(self, socket: RawSocket, key: int) -> None:
        """From its next connection on it uses this one of our secrets."""
        if self._rings:
            keys = self._rings[key]
            socket.setsockopt(zmq.CURVE_SERVERKEY, keys.server.public)
            socket.setsockopt(zmq.CURVE_PUBLICKEY, keys.node.public)
            socket.setsockopt(zmq.CURVE_SECRETKEY, keys.node.secret)

    def _watch_handshakes(self, socket: RawSocket) -> None:
        """Count the strangers."""
        assert self._context is not None
        monitor = watch(self._context, socket, HANDSHAKE_FAILED)
        self._monitors.append(monitor)
        self._drains.append(Drain(monitor, self._on_handshake_failed))

    def _watch_link(self, dealer: RawSocket, told: Callable[[int], None]) -> Drain:
        """Call `told` with each of LINK_EVENTS of this dealer."""
        assert self._context is not None
        assert self._loop is not None
        drain = Drain(watch(self._context, dealer, LINK_EVENTS), lambda parts: told(event_of(parts)))
        drain.start(self._loop)
        return drain

    def _lost(self, address: str, port: int) -> None:
        self.counters["connections_lost"] += 1
        if self._on_lost is not None:
            self._on_lost(address, port)

    # -- receiving -------------------------------------------------------------------------------------------

    def _on_gossip(self, parts: list[bytes]) -> None:
        if len(parts) != 1:
            self.counters["envelope_error"] += 1
            return
        self._deliver(parts[0], Source("gossip", "open" if self._config.keys is None else "node"))

    def _on_request(self, parts: list[bytes]) -> None:
        if len(parts) != 3:
            self.counters["envelope_error"] += 1
            return
        role = "open" if self._config.keys is None else parts[0].decode()
        self._deliver(parts[2], Source("request", role, Route("request", parts[1])))

    def _on_local(self, parts: list[bytes]) -> None:
        if len(parts) != 2:
            self.counters["envelope_error"] += 1
            return
        self._deliver(parts[1], Source("local", "admin", Route("local", parts[0])))

    def _turn_over(self) -> None:
        self.on_turn()

    def _on_handshake_failed(self, parts: list[bytes]) -> None:
        del parts
        self.counters["handshake_failed"] += 1

    def _deliver(self, payload: bytes, source: Source) -> None:
        self.counters["received"] += 1
        self._on_frame(payload, source)

    def _count_sent(self, dropped: bool, reason: str) -> bool:
        self.counters[reason if dropped else "sent"] += 1
        return not dropped

    def _sweep(self) -> None:
        assert self._loop is not None
        self._sweep_timer = self._loop.call_later(SWEEP_S, self._sweep)
        for drain in self._drains:
            drain.recheck()
        if self._publisher is not None:
            self._publisher.getsockopt(zmq.EVENTS)
        self._opened().sweep()


def _ignore(payload: bytes, source: Source) -> None:
    del payload, source


def _nothing() -> None:
    """Nobody is told."""


def _bind(socket: RawSocket, address: str, port: int) -> None:
    socket.setsockopt(zmq.IPV6, int(":" in address))
    try:
        socket.bind(endpoint(address, port))
    except zmq.ZMQError as error:
        hint = ""
        if error.errno == zmq.EADDRINUSE:
            hint = f"see who has it with `ss -ltnp 'sport = :{port}'`, or choose another CLUSTER_PORT"
        raise BindError(f"cannot listen on `{endpoint(address, port)}`: {error.strerror.lower()}", hint) from error
