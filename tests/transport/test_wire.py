"""What Inbound lets through: who may send what by which socket, and what is counted."""

from __future__ import annotations

import msgpack
import pytest

from mltb_transport.bus import Route, Source, new_counters
from mltb_transport.frames import PROTOCOL, Frame, decode
from mltb_transport.limits import PROTOCOL_READ_MAX
from mltb_transport.messages import (
    Election,
    Heartbeat,
    Message,
    Ping,
    Request,
    Response,
    Sync,
)
from mltb_transport.records import Record
from mltb_transport.store import Bundle
from mltb_transport.wire import FOREIGN_MAX, Inbound, Outbound
from tests.transport.frame_kit import encode

RECORD = Record(
    "n1", 1, 1, "s", "c", "10.0.0.1", 7946, "voter", 1, "ACTIVE", "HEALTHY", 0, "1", False, 1, "n1", 1, (), ()
)
HEARTBEAT = Heartbeat(RECORD, ())
SYNC = Sync((RECORD,), True)
ELECTION = Election(1, "vote", 1, 1, 1)
PING = Ping(1)
REQUEST = Request(1, "status", "{}")
RESPONSE = Response(1, True, "{}")
BUNDLE = Bundle(())

PEER = Source("request", "node", Route("request", b"id"))


def inbound(cluster: str = "") -> tuple[Inbound, dict[str, int]]:
    counters = new_counters()
    return Inbound("me", counters, cluster), counters


def of_client(message: Message, cluster: str = "") -> bytes:
    return encode(Frame(PROTOCOL, cluster, "", 0, 1, message))


@pytest.mark.parametrize(
    ("path", "role", "message", "taken_as"),
    [
        ("gossip", "node", HEARTBEAT, "node"),
        ("gossip", "open", HEARTBEAT, "node"),
        ("gossip", "node", PING, None),
        ("gossip", "node", SYNC, None),
        ("gossip", "node", ELECTION, None),
        ("gossip", "node", REQUEST, None),
        ("gossip", "open", ELECTION, None),
        ("gossip", "admin", HEARTBEAT, None),
        ("request", "node", ELECTION, "node"),
        ("request", "node", SYNC, "node"),
        ("request", "node", RESPONSE, "node"),
        ("request", "node", REQUEST, "node"),
        ("request", "node", BUNDLE, None),
        ("request", "open", ELECTION, "node"),
        ("request", "open", REQUEST, "node"),
        ("request", "open", BUNDLE, None),
        ("request", "admin", ELECTION, None),
        ("request", "admin", REQUEST, None),
        ("request", "admin", BUNDLE, None),
        ("request", "viewer", RESPONSE, None),
        ("request", "viewer", REQUEST, None),
        ("request", "viewer", BUNDLE, None),
        ("local", "admin", ELECTION, None),
        ("local", "admin", HEARTBEAT, None),
        ("local", "admin", REQUEST, None),
        ("local", "admin", BUNDLE, None),
    ],
)
def test_who_may_speak_as_a_node_by_which_socket(path: str, role: str, message: Message, taken_as: str | None) -> None:
    opener, counters = inbound()
    delivery = opener.open(Outbound("n1", 1).seal(message), Source(path, role))
    assert (delivery.role if delivery else None) == taken_as
    assert counters["wrong_role"] == (taken_as is None)


@pytest.mark.parametrize(
    ("path", "role", "taken_as"),
    [
        ("gossip", "node", None),
        ("gossip", "open", None),
        ("request", "node", "admin"),
        ("request", "open", "admin"),
        ("request", "admin", "admin"),
        ("request", "viewer", "viewer"),
        ("local", "admin", "admin"),
    ],
)
@pytest.mark.parametrize("message", [REQUEST, BUNDLE], ids=lambda message: type(message).__name__)
def test_in_which_role_a_control_client_is_taken(path: str, role: str, taken_as: str | None, message: Message) -> None:
    opener, counters = inbound()
    delivery = opener.open(of_client(message), Source(path, role))
    assert (delivery.role if delivery else None) == taken_as
    assert counters["wrong_role"] == (taken_as is None)


def test_the_route_of_a_request_is_handed_on() -> None:
    opener, _ = inbound()
    route = Route("local", b"client")
    delivery = opener.open(of_client(REQUEST), Source("local", "admin", route))
    assert delivery is not None
    assert delivery.route == route
    assert delivery.frame.message == REQUEST


def test_every_sealed_message_has_a_number_of_its_own() -> None:
    opener, counters = inbound()
    outbound = Outbound("n1", 4, "c")
    frames = [opener.open(outbound.seal(PING), PEER) for _ in range(3)]
    assert [d.frame.seq for d in frames if d] == [1, 2, 3]
    assert {(d.frame.sender, d.frame.incarnation, d.frame.cluster) for d in frames if d} == {("n1", 4, "c")}
    assert not any(counters.values())


@pytest.mark.parametrize(
    ("ours", "theirs", "passes"),
    [("", "", True), ("", "a", True), ("a", "", True), ("a", "a", True), ("a", "b", False)],
)
@pytest.mark.parametrize("message", [ELECTION, REQUEST, RESPONSE], ids=lambda message: type(message).__name__)
def test_only_frames_of_our_cluster_or_of_none(ours: str, theirs: str, passes: bool, message: Message) -> None:
    opener, counters = inbound(ours)
    assert bool(opener.open(Outbound("n1", 1, theirs).seal(message), PEER)) == passes
    assert counters["wrong_cluster"] == (not passes)


@pytest.mark.parametrize(("to", "passes"), [("", True), ("me", True), ("n2", False)])
@pytest.mark.parametrize("message", [ELECTION, SYNC, REQUEST, RESPONSE], ids=lambda message: type(message).__name__)
def test_what_is_meant_for_another_node_is_no_message_to_us(message: Message, to: str, passes: bool) -> None:
    """Its sender's link leads to us: where addresses are given out anew, they change hands."""
    opener, counters = inbound()
    assert bool(opener.open(Outbound("n1", 1).seal(message, to), PEER)) == passes
    assert counters["misdelivered"] == (not passes)


def test_another_clusters_self_description_is_delivered_so_that_it_can_be_refused_by_name() -> None:
    opener, counters = inbound("ours")
    assert opener.open(Outbound("n1", 1, "theirs").seal(SYNC), PEER) is not None
    assert opener.open(Outbound("n1", 1, "theirs").seal(HEARTBEAT), Source("gossip", "node")) is not None
    assert counters["wrong_cluster"] == 2


def test_control_clients_belong_to_no_cluster() -> None:
    opener, _ = inbound("ours")
    assert opener.open(of_client(REQUEST, "theirs"), Source("local", "admin")) is not None


def test_repeats_and_our_own_name_are_left_to_the_core() -> None:
    opener, counters = inbound()
    outbound = Outbound("n1", 2)
    first, second = outbound.seal(PING), outbound.seal(REQUEST)
    assert all(opener.open(payload, PEER) for payload in (first, second, second, first))
    assert not any(counters.values())
    assert opener.open(Outbound("me", 1).seal(PING), PEER)
    assert counters["own_name"] == 1


# -- versions ----------------------------------------------------------------------------------------------------


def of_version(version: int, sender: str = "n9") -> bytes:
    return bytes(msgpack.packb([version, "c", sender, 1, 1, 3, [5]]))


def test_who_speaks_what_we_cannot_read_is_told_once_and_again_after_it_was_understood() -> None:
    opener, counters = inbound()
    told: list[tuple[str, int]] = []
    opener.on_unreadable = lambda sender, version: told.append((sender, version))
    beyond = PROTOCOL_READ_MAX + 1
    for _ in range(3):
        assert opener.open(of_version(beyond), PEER) is None
    assert (told, counters["unknown_version"]) == ([("n9", beyond)], 3)
    opener.open(of_version(beyond + 1), PEER)
    opener.open(Outbound("n9", 1).seal(PING), PEER)
    opener.open(of_version(beyond + 1), PEER)
    assert told == [("n9", beyond), ("n9", beyond + 1), ("n9", beyond + 1)]


@pytest.mark.parametrize(
    ("sender", "role"), [("n9", "admin"), ("n9", "viewer"), ("N 9", "node"), ("", "node"), ("n" * 64, "node")]
)
def test_strangers_without_a_name_or_the_key_of_a_node_are_only_counted(sender: str, role: str) -> None:
    opener, counters = inbound()
    told: list[str] = []
    opener.on_unreadable = lambda sender, _: told.append(sender)
    opener.open(of_version(PROTOCOL_READ_MAX + 1, sender), Source("request", role))
    assert (told, counters["unknown_version"]) == ([], 1)


def test_strangers_are_told_up_to_a_limit() -> None:
    opener, _ = inbound()
    told: list[str] = []
    opener.on_unreadable = lambda sender, _: told.append(sender)
    for number in range(FOREIGN_MAX + 5):
        opener.open(of_version(PROTOCOL_READ_MAX + 1, f"x{number}"), PEER)
    assert len(told) == FOREIGN_MAX


def test_a_command_of_a_newer_release_is_counted_like_a_kind_of_one() -> None:
    opener, counters = inbound()
    payload = msgpack.packb([PROTOCOL, "", "n1", 1, 1, 10, [[1, 1, 1, [77, []]]]])
    assert opener.open(payload, PEER) is None
    assert counters["unknown_kind"] == 1


def test_what_is_sealed_in_parts_is_one_frame() -> None:
    outbound = Outbound("n1", 1)
    kinds: list[Message] = [PING, PING, PING, ELECTION, PING]
    for seq, (message, to, cluster) in enumerate(zip(kinds, ("", "n2", *["n3"] * 3), ("", "", *"ccc"), strict=True), 1):
        outbound.cluster = cluster
        assert outbound.seal(message, to) == encode(Frame(PROTOCOL, cluster, "n1", 1, seq, message, to))
    outbound.incarnation = 2
    assert decode(outbound.seal(PING)).incarnation == 2
