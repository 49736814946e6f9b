"""Who may call what, and what answers look like."""

from __future__ import annotations

import json

import pytest

from mltb_transport.limits import ERROR_CODES, READ_METHODS, TEXT_CHARS_MAX
from mltb_transport.messages import Request, Response
from mltb_transport.replies import ParamsError, body_of, failed, params_of, permitted, succeeded


def test_a_viewer_reads_and_an_admin_does_all() -> None:
    for method in READ_METHODS:
        assert permitted("viewer", method)
        assert permitted("admin", method)
    for method in ("failover", "switchover", "failback", "failback_cancel", "unknown"):
        assert not permitted("viewer", method)
        assert permitted("admin", method)
    for role in ("node", "open", ""):
        assert not permitted(role, "status")


def test_parameters() -> None:
    assert params_of(Request(1, "is", '{"what":"leader"}')) == {"what": "leader"}


@pytest.mark.parametrize("params", ["", "{", "[]", "1", "null", "[" * 100_000])
def test_parameters_that_are_not_an_object(params: str) -> None:
    with pytest.raises(ParamsError, match="the parameters of `is` are not"):
        params_of(Request(1, "is", params))


@pytest.mark.parametrize("body", ["[]", "7", "{", "[" * 100_000, '{"a":NaN}', '{"a":-Infinity}', '{"a":1e999}'])
def test_what_another_daemon_answers_is_an_object_of_json_or_nothing(body: str) -> None:
    assert body_of(Response(1, True, body)) is None
    assert body_of(Response(1, True, f'{{"a":{len(body)}.5}}')) == {"a": len(body) + 0.5}


def test_a_result() -> None:
    response = succeeded(7, {"node": "n1"})
    assert (response.id, response.ok, json.loads(response.body)) == (7, True, {"node": "n1"})


def test_a_result_beyond_the_limit_becomes_an_error() -> None:
    response = succeeded(7, {"text": "x" * TEXT_CHARS_MAX})
    assert not response.ok
    assert json.loads(response.body)["code"] == "failed"


@pytest.mark.parametrize("code", ERROR_CODES)
def test_a_failure(code: str) -> None:
    response = failed(7, code, "no", "try this", candidates=[{"node": "n1"}])
    assert not response.ok
    assert json.loads(response.body) == {
        "code": code,
        "message": "no",
        "hint": "try this",
        "candidates": [{"node": "n1"}],
    }


def test_a_failure_beyond_the_limit_is_cut() -> None:
    response = failed(7, "failed", "m" * TEXT_CHARS_MAX, candidates=["x" * 10])
    assert len(response.body) < 3000
    assert json.loads(response.body)["code"] == "failed"


def test_only_codes_of_the_contract() -> None:
    assert json.loads(failed(7, "oops", "").body)["code"] == "failed"
