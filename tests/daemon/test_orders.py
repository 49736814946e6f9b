"""The channel's datagrams: what is an order comes through whole, anything else is an OrderError."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltbd.orders import (
    ARGV_MAX,
    DATAGRAM_BYTES_MAX,
    ENV_MAX,
    HORIZON_S_MAX,
    KEPT_CHARS_MAX,
    NAME_CHARS_MAX,
    TIMEOUT_S_MAX,
    TOKEN_MAX,
    Arm,
    Hello,
    Hook,
    Keep,
    OrderError,
    Start,
    Stop,
    Tell,
    decode,
    encode,
)

START: dict[str, Any] = {
    "do": "start", "workload": "main", "token": 7, "argv": ["bot", "-v"], "cwd": "/srv", "env": {"A": "1"},
    "stop_timeout": 2, "grace": 0.5,
}  # fmt: skip
ARM: dict[str, Any] = {"do": "arm", "workload": "main", "token": 7, "deadline": 12.5}


def test_orders_come_through() -> None:
    assert decode(encode({"do": "hello", "horizon": 2.4, "patience": 10})) == Hello(2.4, 10.0)
    assert decode(encode(ARM)) == Arm("main", 7, 12.5)
    assert decode(encode({"do": "stop", "workload": "main", "token": 0})) == Stop("main", 0)
    assert decode(encode({"do": "tell", "lines": ["READY=1"]})) == Tell(("READY=1",))
    assert decode(encode(START)) == Start("main", 7, ("bot", "-v"), "/srv", {"A": "1"}, 2.0, 0.5)


@pytest.mark.parametrize("number", [9, 19, True, "SIGINT", None])
def test_a_stop_signal_is_one_that_can_be_heeded(number: object) -> None:
    with pytest.raises(OrderError):
        decode(encode({**START, "stop_signal": number}))


def test_hooks_come_through() -> None:
    hooks = {"pre_start": {"argv": ["x", "y"], "timeout": 3}, "post_stop": {"argv": ["z"], "timeout": 0.5}}
    order = decode(encode({**START, "hooks": hooks}))
    assert isinstance(order, Start)
    assert order.hooks == {"pre_start": Hook(("x", "y"), 3.0), "post_stop": Hook(("z",), 0.5)}


@pytest.mark.parametrize(
    "hooks",
    [
        1,
        ["pre_start"],
        {"mid_start": {"argv": ["x"], "timeout": 1}},
        {"pre_start": ["x"]},
        {"pre_start": {"argv": [], "timeout": 1}},
        {"pre_start": {"argv": ["x"]}},
        {"pre_start": {"argv": ["x"], "timeout": -1}},
        {"pre_start": {"argv": ["x\0"], "timeout": 1}},
    ],
)
def test_what_hooks_may_not_be(hooks: object) -> None:
    with pytest.raises(OrderError):
        decode(encode({**START, "hooks": hooks}))


def test_what_a_workload_must_not_know_is_taken_from_its_environment() -> None:
    ours = ["MLTB_GUARD_FD", "CLUSTER_SECRET", "CLUSTER_SECRET_SECOND", "CLUSTER_SECRET_FILE"]
    systemd = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"]
    withheld = [*ours, *systemd, "CREDENTIALS_DIRECTORY"]
    order = decode(encode({**START, "env": dict.fromkeys([*withheld, "KEPT"], "1")}))
    assert isinstance(order, Start)
    assert order.env == {"KEPT": "1"}


@pytest.mark.parametrize(
    "change",
    [
        {"do": "dance"},
        {"do": ["start"]},
        {"workload": ""},
        {"workload": "x" * (NAME_CHARS_MAX + 1)},
        {"workload": 1},
        {"token": -1},
        {"token": True},
        {"token": 1.0},
        {"token": TOKEN_MAX + 1},
        {"argv": []},
        {"argv": "bot"},
        {"argv": ["bot"] * (ARGV_MAX + 1)},
        {"argv": ["bot\0"]},
        {"argv": ["\ud800"]},
        {"argv": [1]},
        {"env": None},
        {"env": {"A": 1}},
        {"env": {"": "1"}},
        {"env": {"A=B": "1"}},
        {"env": {f"A{n}": "" for n in range(ENV_MAX + 1)}},
        {"cwd": 3},
        {"cwd": "/\0"},
        {"stop_timeout": -1},
        {"stop_timeout": "1"},
        {"stop_timeout": float("nan")},
        {"stop_timeout": 10**400},
        {"grace": float("inf")},
        {"grace": HORIZON_S_MAX + 1},
        {"grace": False},
    ],
    ids=lambda change: repr(change)[:40],
)
def test_a_bad_field_is_an_order_error(change: dict[str, Any]) -> None:
    with pytest.raises(OrderError):
        decode(encode({**START, **change}))


@pytest.mark.parametrize(
    "change",
    [
        {"workload": "x" * NAME_CHARS_MAX},
        {"token": TOKEN_MAX},
        {"argv": ["bot"] * ARGV_MAX},
        {"env": {f"A{n}": "" for n in range(ENV_MAX)}},
        {"stop_timeout": TIMEOUT_S_MAX},
        {"grace": HORIZON_S_MAX},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_just_fits_is_an_order(change: dict[str, Any]) -> None:
    assert isinstance(decode(encode({**START, **change})), Start)


def test_a_datagram_has_a_limit() -> None:
    fits = encode(ARM).ljust(DATAGRAM_BYTES_MAX)
    assert decode(fits) == Arm("main", 7, 12.5)
    with pytest.raises(OrderError, match="bytes"):
        decode(fits + b" ")


@pytest.mark.parametrize("field", ["workload", "token", "argv", "env", "stop_timeout", "grace"])
def test_a_missing_field_is_an_order_error(field: str) -> None:
    with pytest.raises(OrderError):
        decode(encode({name: value for name, value in START.items() if name != field}))


def test_what_is_kept_has_a_limit() -> None:
    keep = {"do": "keep", "configuration": "x" * KEPT_CHARS_MAX}
    assert decode(encode(keep)) == Keep("x" * KEPT_CHARS_MAX)
    for wrong in ("x" * (KEPT_CHARS_MAX + 1), None, 7, "\0"):
        with pytest.raises(OrderError, match="configuration"):
            decode(encode(keep | {"configuration": wrong}))


def test_a_horizon_longer_than_any_lease_is_refused() -> None:
    with pytest.raises(OrderError, match="horizon"):
        decode(encode({"do": "hello", "horizon": HORIZON_S_MAX + 1, "patience": 1}))


@pytest.mark.parametrize(
    "datagram",
    [b"", b"\xff", b"null", b"[]", b'{"do":', b"[" * 60_000, b"1" * 60_000, b" " * (DATAGRAM_BYTES_MAX + 1)],
    ids=["empty", "not text", "null", "list", "torn", "deep", "long number", "long"],
)
def test_garbage_is_an_order_error(datagram: bytes) -> None:
    with pytest.raises(OrderError):
        decode(datagram)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=6,
)


@given(st.binary(max_size=200))
def test_bytes_are_an_order_or_an_order_error(datagram: bytes) -> None:
    with contextlib.suppress(OrderError):
        decode(datagram)


@given(st.sampled_from([START, ARM]), st.dictionaries(st.sampled_from(sorted(START | ARM)), json_values))
def test_objects_are_an_order_or_an_order_error(order: dict[str, Any], change: dict[str, Any]) -> None:
    with contextlib.suppress(OrderError):
        decode(json.dumps({**order, **change}).encode())
