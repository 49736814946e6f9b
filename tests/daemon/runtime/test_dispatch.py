"""Who may send what, from the key that proves a role to whoever acts on the frame: every kind, every key."""

from __future__ import annotations

from typing import cast

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mltb_transport.bus import Route, Source, new_counters
from mltb_transport.frames import PROTOCOL, Frame
from mltb_transport.messages import KINDS, Request, Response
from mltb_transport.schema import pack
from mltb_transport.store import Bundle
from mltb_transport.wire import Inbound
from mltbd.core.events import Received
from mltbd.runtime.control import Control
from mltbd.runtime.daemon import dispatch
from mltbd.runtime.driver import Driver
from tests.daemon.runtime.live import Live
from tests.transport.frame_kit import encode
from tests.transport.strategies import messages

ROUTE = Route("request", b"client")
KEYS = {
    "viewer": Source("request", "viewer", ROUTE),
    "admin": Source("request", "admin", ROUTE),
    "local": Source("local", "admin", ROUTE),
    "node": Source("request", "node", ROUTE),
    "open": Source("request", "open", ROUTE),
}
AS_CLIENT = {"viewer": "viewer", "admin": "admin", "local": "admin", "node": "admin", "open": "admin"}


class Heard:
    """Stands for the driver and the control plane: which of them is given the frame, and as whose."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def from_peer(self, _: Request, sender: str) -> None:
        self.told.append(("peer", sender))

    def from_client(self, _: Request, role: str, __: Route) -> None:
        self.told.append(("client", role))

    def bundle(self, _: Bundle, role: str, __: Route) -> None:
        self.told.append(("client", role))

    def response(self, _: Response) -> None:
        self.told.append(("answer", ""))

    def handle(self, event: Received) -> None:
        self.told.append(("node", event.sender))


def given_to(payload: bytes, source: Source) -> tuple[str, str] | None:
    """Who got it; None: nobody, and that was counted."""
    counters, heard = new_counters(), Heard()
    delivery = Inbound("n1", counters, "c-1").open(payload, source)
    if delivery is not None:
        dispatch(delivery, cast("Driver", heard), cast("Control", heard))
    assert len(heard.told) + sum(counters.values()) == 1
    return heard.told[0] if heard.told else None


def allowed(key: str, sender: str, cls: type) -> tuple[str, str] | None:
    """The table of transport/DESIGN.md, "Keys and roles"."""
    if not sender:
        return ("client", AS_CLIENT[key]) if cls in (Request, Bundle) else None
    if key not in ("node", "open") or cls is Bundle:
        return None
    return {Request: ("peer", sender), Response: ("answer", "")}.get(cls, ("node", sender))


@pytest.mark.parametrize("sender", ["", "n2", "nobody"])
@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: KINDS[kind].__name__)
@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_who_may_send_what(kind: int, key: str, sender: str, data: st.DataObject) -> None:
    message = data.draw(messages(KINDS[kind]))
    payload = msgpack.packb([PROTOCOL, "", sender, 0, 1, kind, pack(message)])
    assert given_to(payload, KEYS[key]) == allowed(key, sender, KINDS[kind])


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("pause", '{"reason":"x"}'),
        ("failover", '{"to":"n2"}'),
        ("node_remove", '{"node":"n2"}'),
        ("state_set", '{"client":"evil","seq":1,"key":"k","value":"1","if_version":null}'),
        ("status", "{}"),
    ],
)
@pytest.mark.parametrize("role", ["viewer", "admin"])
@pytest.mark.parametrize("sender", ["n1", "n2", "nobody"])
def test_nobody_but_a_node_speaks_as_one(three: Live, method: str, params: str, role: str, sender: str) -> None:
    """As such the call would be taken for one that a node passes on, and no key be asked for."""
    one = three["n1"]
    served, dropped = one.control.counters["requests"], one.bus.counters["wrong_role"]
    payload = encode(Frame(PROTOCOL, one.node.cluster, sender, 0, 1, Request(1, method, params)))
    assert three.hub.put(("client", 0), one.address, payload, Source("request", role, ROUTE))
    three.ask("n1", "ping")  # It comes after the frame.
    assert one.bus.counters["wrong_role"] == dropped + 1
    assert one.control.counters["requests"] == served + 1
