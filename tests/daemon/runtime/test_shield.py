"""One broken daemon is no reason for another to end: whatever it says, whoever asks is answered."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltb_transport.frames import PROTOCOL, Frame
from mltb_transport.limits import CLUSTER_CHARS_MAX, TEXT_CHARS_MAX
from mltb_transport.messages import Request, Response
from mltb_transport.schema import INT_MAX
from mltbd.core.log import InvariantViolation
from mltbd.core.owner import Owner
from mltbd.runtime import doctor, views
from mltbd.runtime.doctor import CheckUp
from mltbd.runtime.shield import lead_of, response, shielded
from tests.daemon.runtime.live import Live
from tests.transport.frame_kit import encode

NESTED = '{"a":' * 900 + "1" + "}" * 900


@pytest.fixture(scope="module")
def cluster() -> Iterator[Live]:
    with Live(2) as live:
        yield live


@pytest.fixture
def two(cluster: Live) -> Live:
    """n1 leads, also after a pause between two tests; each says what it answers to n2."""
    return cluster.formed()


def says(monkeypatch: pytest.MonkeyPatch, live: Live, ok: bool, body: str) -> None:
    one = live["n1"]

    def from_peer(request: Request, sender: str) -> None:
        one.driver.send(sender, Response(request.id, ok, body))

    monkeypatch.setattr(one.control, "from_peer", from_peer)


@pytest.mark.parametrize("body", [
    '{"leases":{"main":"soon"}}', '{"leases":7}', '{"leases":{"main":true}}', '{"failbacks":{"main":[]}}',
    '{"mode":{}}', '{"leases":{"main":NaN}}', '{"leases":{"main":1e999}}', NESTED,
])  # fmt: skip
def test_what_a_broken_leader_adds_is_left_out(monkeypatch: pytest.MonkeyPatch, two: Live, body: str) -> None:
    says(monkeypatch, two, True, body)
    assert two.ask("n2", "status")["workloads"][0]["lease_remaining_seconds"] is None


def test_what_a_leader_adds_is_known(two: Live) -> None:
    two.until(lambda: views.leader_facts(two["n1"].node, 0.0), "in charge")
    facts = views.leader_facts(two["n1"].node, 0.0)
    assert lead_of(json.loads(json.dumps(facts))) == facts


@pytest.mark.parametrize("body", [
    "{}", '{"code":7}', '{"request":1,"message":[]}', '{"code":"x","message":"m","body":{}}', NESTED,
])  # fmt: skip
def test_a_refusal_of_any_shape_is_passed_on(monkeypatch: pytest.MonkeyPatch, two: Live, body: str) -> None:
    says(monkeypatch, two, False, body)
    assert two.refused("n2", "switchover", {"to": "n1"})["code"] == "failed"


@pytest.mark.parametrize("wall", ["1e300", "-1.0", "1e999", "NaN", "1"])
def test_a_clock_that_none_shows_is_not_compared(monkeypatch: pytest.MonkeyPatch, two: Live, wall: str) -> None:
    monkeypatch.setattr(doctor, "PEER_ANSWERS_S", 0.2)
    says(monkeypatch, two, True, f'{{"boottime":{wall},"wall":1.0,"incarnation":1}}')
    noted: list[object] = []
    check_up: Any = two["n2"].check_up
    monkeypatch.setattr(check_up._clocks, "note", lambda *sample: noted.append(sample))
    two.act(check_up._compare_clocks)
    two.act(check_up._compare_clocks)
    two.ask("n2", "ping")
    assert not noted
    assert two.ask("n2", "survey", {"quick": True})["facts"].keys() == {"n1", "n2"}


def test_an_owner_that_says_it_runs_since_a_time_without_date(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Owner.views
    monkeypatch.setattr(Owner, "views", lambda self, now: tuple(replace(v, since=2**62) for v in real(self, now)))
    with Live(2) as live:
        live.formed()
        seen = live["n2"].node.membership
        live.until(lambda: any(m.record.workloads for m in seen.members(0.0)), "the view of n1")
        assert live.ask("n2", "status")["workloads"][0]["since"] is None


@pytest.mark.parametrize("method", ["status", "is", "facts", "survey"])
def test_an_answer_that_cannot_be_made_is_refused_and_logged(
    monkeypatch: pytest.MonkeyPatch, two: Live, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    def broken(*_: object) -> bool:
        raise KeyError("half a record")

    monkeypatch.setattr(views, "has_quorum", broken)
    with caplog.at_level(logging.ERROR, "mltbd"):
        ok, body = two.call("n2", method, {"what": "quorate"})
    told = body["silent"]["n2"] if ok else body["message"]  # A survey tells of the others all the same.
    assert told == "the daemon cannot make this answer"
    assert "half a record" in caplog.text


def test_a_survey_that_the_node_itself_answers_last_and_that_cannot_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> dict[str, Any]:
        raise RecursionError

    monkeypatch.setattr(CheckUp, "_page", broken)
    with Live() as live:
        assert live.refused("n1", "survey")["message"] == "the daemon cannot make this answer"


@pytest.mark.parametrize(("method", "params"), [
    ("state_set", {"key": "k", "value": "1"}), ("state_delete", {"key": "k"}),
    ("lock_acquire", {"name": "l", "ttl": 30}), ("lock_extend", {"name": "l", "lock_id": "id-1"}),
])  # fmt: skip
def test_a_number_that_its_client_gave_to_another_command_before_is_refused(
    two: Live, method: str, params: dict[str, Any]
) -> None:
    client, name = f"twice-{method}", f"twice/{method}"
    held = two.ask("n2", "lock_acquire", {"client": client, "seq": 1, "name": name, "ttl": 30})
    two.ask("n2", "lock_release", {"client": client, "seq": 2, "name": name, "lock_id": held["lock_id"]})
    assert two.refused("n2", method, {"client": client, "seq": 2, **params})["code"] == "failed"


def test_a_broken_rule_of_ours_goes_through() -> None:
    def broken() -> None:
        raise InvariantViolation("two leaders")

    with pytest.raises(InvariantViolation):
        shielded(lambda *_: None, broken)()


def test_a_result_that_json_does_not_know_is_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    answer = response(7, True, {"at": float("inf")})
    assert (answer.id, answer.ok, json.loads(answer.body)["code"]) == (7, False, "failed")
    assert "Out of range float" in caplog.text


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(["code", "message", "hint", "request", "candidates"]) | st.text(max_size=9)
LENGTHS = st.sampled_from([1, 1001, TEXT_CHARS_MAX // 12, TEXT_CHARS_MAX])
TEXTS = st.builds(str.__mul__, st.sampled_from(["x", "ж", "🙂", '"', "\x00", "\ud800"]), LENGTHS)


@given(st.booleans(), st.dictionaries(FIELDS, ANYTHING | TEXTS, max_size=5))
def test_whatever_is_answered_a_frame_can_hold(ok: bool, body: dict[str, Any]) -> None:
    answer = response(INT_MAX, ok, body)
    assert isinstance(json.loads(answer.body), dict)
    encode(Frame(PROTOCOL, "c" * CLUSTER_CHARS_MAX, "n" * 63, INT_MAX, INT_MAX, answer, "m" * 63))
