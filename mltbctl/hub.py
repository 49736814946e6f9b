"""What the clients of one process share that know the same daemons: one connection, and rows of numbered changes."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from mltbctl.errors import AuthenticationFailed, MltbError
from mltbctl.permits import Permits
from mltbctl.settings import NODES_MAX, endpoint_of, find_secret, is_local, listens, local_sockets, named_nodes

if TYPE_CHECKING:
    from mltb_transport.channel import Channel
    from mltb_transport.control import ControlError, Peer
    from mltb_transport.keys import Credential

CALLS_MAX = 1024
"""Calls under way at once; one more waits, within its timeout."""
PATIENT_MAX = 960
"""Of these, how many may wait at the daemon for a lock or a change: a release must never wait for them."""
CLIENT_ID_BYTES = 12
SPREAD_S = 0.1
"""Whoever has so little more time than another has no more."""
FOLLOW_S = 1.0
"""What the way to the leader may cost the one call that tries it."""
FOLLOW_AGAIN_S = 10.0
"""Not more often: leaders change, and one that cannot be reached from here stays so for a while."""
_STEERING = (
    "MLTB_NODE", "MLTB_SOCKET", "MLTB_RUNTIME_DIR", "XDG_RUNTIME_DIR", "MLTB_CONFIG", "XDG_CONFIG_HOME",
    "CLUSTER_SECRET", "CLUSTER_SECRET_SECOND", "CLUSTER_SECRET_FILE", "CREDENTIALS_DIRECTORY",
)  # fmt: skip
"""What in the environment decides which daemons are meant, and with which secret."""


Name = tuple[str, int]
"""Client and number: what a change is known by. It stands for that one change, whatever is interrupted."""


class Row:
    """Changes of one client, numbered one after the other: a number follows when the one before has its answer.

    So each call under way has a row of its own. One that the state does not know, because its first change was never
    applied or because it rested too long, is refused as `forgotten`: another takes its place.
    """

    __slots__ = ("client", "number")

    def __init__(self) -> None:
        self.client = os.urandom(CLIENT_ID_BYTES).hex()
        self.number = 0

    def next(self) -> Name:
        """The name of the change that follows."""
        self.number += 1
        return self.client, self.number


def too_late() -> ControlError:
    """What to raise when the connection that is being made was waited for in vain."""
    from mltb_transport.control import Unreachable

    return Unreachable("no connection in time", "see whether mltbd is well there, or give it longer")


class Hub:
    """The way to the daemons. For any number of threads; opened by the first call, closed with its last client."""

    def __init__(self, nodes: tuple[str, ...], secret: str | None, config: str) -> None:
        self.pid = os.getpid()
        self.clients = 0
        self.endpoints: list[str] = []
        self.free = Permits(CALLS_MAX)
        self.patient = Permits(PATIENT_MAX)
        self._nodes = nodes
        self._secret = secret
        self._config = config
        self._keys: list[Credential | None] = [None]
        self._rows: list[Row] = []
        self._channel: Channel | None = None
        self._opening = Permits(1)
        self._attempts = 0
        self._failure: Exception | None = None
        self._failed_late = False
        self._turn = 0
        self._key = 0
        self._follow_at = 0.0

    @property
    def channel(self) -> Channel | None:
        """The connection that there is, as far as is known."""
        channel = self._channel
        return channel if channel is not None and channel.usable else None

    def row(self) -> Row:
        """A row for one change at a time; give it back to `rest` when its number is answered, else forget it."""
        try:
            return self._rows.pop()
        except IndexError:
            return Row()

    def rest(self, row: Row) -> None:
        """Its number has its answer: another may follow."""
        self._rows.append(row)

    def open(self, deadline: float, share_s: float) -> tuple[Channel, float]:
        """The connection, made if there is none, and until when it may take to answer: `share_s` where there are
        other endpoints to ask. Raises what `control.connect` does, and AuthenticationFailed for a broken secret."""
        began = time.monotonic()
        channel = self.channel
        if channel is None:
            channel = self._open(began, deadline, share_s)
        elif self.may_follow(channel, began):
            channel = self._follow(channel, began, deadline)
        return channel, self.until(began, deadline, share_s)

    def until(self, began: float, deadline: float, share_s: float) -> float:
        """Until when who began then may wait for an answer."""
        return min(deadline, began + share_s) if len(self.endpoints) > 1 else deadline

    def patience(self, lost: int) -> float:
        """How many times as long as at first a call bears a silence that has lost so many tries to it: twice as long
        after each round of the endpoints. Over a slow link a large answer holds up every sign of life."""
        return 2.0 ** (lost // max(1, len(self.endpoints)))

    def may_follow(self, channel: Channel, now: float) -> bool:
        """Whether `open` would look for the leader first."""
        return bool(channel.leader) and now >= self._follow_at and len(self.endpoints) > 1

    def turn_away(self, channel: Channel | None) -> None:
        """The next calls go to another endpoint, where there is one; those under way here may still be answered."""
        with _mutex:
            if channel is None or channel is not self._channel:
                return
            self._channel = None
            self._turn += 1
            _close_door(channel)
        _let_go(channel)

    def close_if_idle(self) -> None:
        """Hang up when no client is left; calls under way are answered first."""
        with _mutex:
            if self.clients > 0 or self._channel is None:
                return
            channel, self._channel = self._channel, None
        _let_go(channel)

    def _open(self, began: float, deadline: float, share_s: float) -> Channel:
        """One thread makes the connection. Those who wait for it have what it got, be it a failure: but for want of
        time when they have more."""
        attempt = self._attempts
        with self._opening.one(deadline - time.monotonic()) as mine:
            if not mine:
                raise too_late()
            if self._channel is not None and self._channel.usable:
                return self._channel
            if self._attempts != attempt and self._failure is not None:
                left_s = self.until(began, deadline, share_s) - time.monotonic()
                if left_s <= SPREAD_S or not self._failed_late:
                    raise self._failure
            with _mutex:
                lost, self._channel = self._channel, None
            if lost is not None:
                _let_go(lost)
            try:
                self._resolve(deadline)
                first = self._turn % len(self.endpoints)
                endpoints = self.endpoints[first:] + self.endpoints[:first]
                self._channel = self._connect(self.until(began, deadline, share_s), endpoints)
                self._failure = None
            except Exception as error:
                self._failure = error
                self._failed_late = self.until(began, deadline, share_s) - time.monotonic() <= SPREAD_S
                raise
            finally:
                self._attempts += 1
            return self._channel

    def _follow(self, channel: Channel, began: float, deadline: float) -> Channel:
        """Go to the leader where it is one of our endpoints: what is asked there takes no detour. Where it cannot be
        reached, all stays as it is; whoever finds another thread on its way there goes on with what there is."""
        from mltb_transport.control import ControlError

        node, _, where = channel.leader.partition(" ")
        found = [end for end in self.endpoints if end == where or end.endswith(f"/{node}.sock")]
        self._follow_at = began + FOLLOW_AGAIN_S
        if not found or found[0] == channel.endpoint:
            return channel
        with self._opening.one(0.0) as mine:
            if not mine or self._channel is not channel:
                return channel
            first = self.endpoints.index(found[0])
            try:
                self._channel = self._connect(min(deadline, began + FOLLOW_S), [found[0]])
            except ControlError:
                return channel
            self._turn = first
        _let_go(channel)
        return self._channel

    def _resolve(self, deadline: float) -> None:
        nodes = named_nodes(self._nodes, os.environ)
        endpoints = [endpoint_of(node) or self._member(node, deadline) for node in nodes]
        if not endpoints:
            endpoints = local_sockets(os.environ)
        self.endpoints = endpoints
        self._keys = self._credentials() if any(not is_local(end) for end in endpoints) else [None]

    def _connect(self, deadline: float, endpoints: list[str]) -> Channel:
        """With each key that there is; not anew where another hub is connected to the first of them."""
        from mltb_transport.control import Denied, connect

        left = len(self._keys)
        while True:
            left -= 1
            credential = self._keys[self._key % len(self._keys)]
            shared = _join(endpoints[0], credential)
            if shared is not None:
                return shared
            try:
                return _offer(_channel(connect(endpoints, credential, deadline)), credential)
            except Denied:  # Nothing was sent.
                if left <= 0:
                    raise
                self._key += 1

    def _credentials(self) -> list[Credential | None]:
        """What may open a daemon elsewhere, best first; never empty. Two while the secret is being changed."""
        from mltb_transport.access import credential_of
        from mltb_transport.keys import SecretError

        if self._secret is not None:
            texts = [self._secret]
        else:
            found = find_secret(self._config, os.environ)
            if found is None:
                return [None]
            texts = [text for text in (found.text, found.other) if text]
        try:
            return [credential_of(text) for text in texts]
        except SecretError as error:
            raise AuthenticationFailed(error.message, error.hint) from error

    def _member(self, node: str, deadline: float) -> str:
        from mltb_transport.addresses import spelled

        sockets = local_sockets(os.environ)
        for path in sockets:
            if path.endswith(f"/{node}.sock"):
                return path
        # A daemon of the same runtime directory, where the environment named another one of it.
        for directory in dict.fromkeys(path.rpartition("/")[0] for path in sockets):
            if listens(f"{directory}/{node}.sock"):
                return f"{directory}/{node}.sock"
        from mltbctl.lines import Lines
        from mltbctl.settings import TIMEOUT_S

        left_s = max(0.0, deadline - time.monotonic())
        local = Lines(tuple(sockets[:NODES_MAX]), None, min(TIMEOUT_S, left_s), "")
        try:
            members = {member["id"]: member for member in local.once("status", {}, changes=False)["nodes"]}
        finally:
            local.close()
        if node not in members:
            known = ", ".join(f"`{name}`" for name in sorted(members))
            raise MltbError(f"`{node}` is no member, known are {known}", "run `mltbctl nodes`", code="usage")
        if members[node]["address"] is None:
            why = f"where `{node}` is, is not known here: nobody has met it since this node started"
            raise MltbError(why, "name it by its address: `--node HOST:PORT`", code="unreachable")
        return spelled(members[node]["address"], members[node]["port"] + 1)


# -- one for each set of daemons -------------------------------------------------------------------------------------

_hubs: dict[tuple[object, ...], Hub] = {}
_mutex = threading.Lock()


def enter(nodes: tuple[str, ...], secret: str | None, config: str) -> Hub:
    """The hub of this process for these daemons; `leave` it in the end."""
    key = (nodes, secret, config, *map(os.environ.get, _STEERING))
    with _mutex:
        hub = _hubs.get(key)
        if hub is None or hub.clients <= 0:
            hub = _hubs[key] = Hub(nodes, secret, config)
        hub.clients += 1
        return hub


def leave(hub: Hub) -> None:
    """One client less."""
    with _mutex:
        hub.clients -= 1
        if hub.clients <= 0:
            for key in [key for key, other in _hubs.items() if other is hub]:
                del _hubs[key]
    hub.close_if_idle()


# -- one connection to each daemon, whichever others a hub knows -----------------------------------------------------

_channels: dict[tuple[str, Credential | None], Channel] = {}


def _place(endpoint: str, credential: Credential | None) -> tuple[str, Credential | None]:
    return endpoint, None if is_local(endpoint) else credential


def _join(endpoint: str, credential: Credential | None) -> Channel | None:
    """The connection to this daemon that is there already."""
    with _mutex:
        channel = _channels.get(_place(endpoint, credential))
        if channel is None or not channel.usable:
            return None
        channel.holders += 1
        return channel


def _channel(peer: Peer) -> Channel:
    from mltb_transport.channel import Channel
    from mltb_transport.control import unable

    try:
        return Channel(peer)
    except OSError as error:
        peer.close()
        raise unable(peer.endpoint.text, error) from error


def _offer(channel: Channel, credential: Credential | None) -> Channel:
    """A new connection, for others to join."""
    with _mutex:
        channel.holders = 1
        _channels[_place(channel.endpoint, credential)] = channel
        return channel


def _close_door(channel: Channel) -> None:
    """Nobody joins it any more; who is there finds out by himself. Under the mutex."""
    for place in [place for place, other in _channels.items() if other is channel]:
        del _channels[place]


def _let_go(channel: Channel) -> None:
    """One hub less. It is closed when the last has gone, and the last call is answered."""
    with _mutex:
        channel.holders -= 1
        last = channel.holders <= 0
        if last:
            _close_door(channel)
    if last:
        channel.retire()


def _forget() -> None:
    """A child has its own connections and numbers. Those of its parent it leaves alone."""
    global _mutex
    _mutex = threading.Lock()
    _hubs.clear()
    _channels.clear()


os.register_at_fork(after_in_child=_forget)
