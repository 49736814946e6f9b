"""From text and TOML to values: every kind, every limit, and garbage is a ValueProblem and nothing else."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltbd.config.options import OPTIONS
from mltbd.config.parsing import (
    LIST_ITEMS_MAX,
    TEXT_CHARS_MAX,
    check_host,
    parse_text,
    parse_value,
    split_address,
)
from mltbd.config.problem import ValueProblem

names = st.sampled_from(sorted(OPTIONS))
toml_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        *[("CLUSTER_ENABLED", text, True) for text in ("True", "true", "1", "yes", "on", " ON ")],
        *[("CLUSTER_ENABLED", text, False) for text in ("False", "false", "0", "no", "off")],
        ("CLUSTER_PORT", "17946", 17946),
        ("CLUSTER_PORT", " 80 ", 80),
        ("CLUSTER_HEARTBEAT_INTERVAL", "1", 1.0),
        ("CLUSTER_HEARTBEAT_INTERVAL", "0.5", 0.5),
        ("CLUSTER_LEASE_DURATION", "auto", None),
        ("CLUSTER_BOOTSTRAP", "auto", None),
        ("CLUSTER_NODE_ID", "n1", "n1"),
        ("FAILOVER_PRIMARY_NODE", "None", None),
        ("CLUSTER_ROLE", "Witness", "witness"),
        ("HA_LOG_LEVEL", "debug", "DEBUG"),
        ("CLUSTER_SEED_NODES", "a:7946,b:7946", ("a:7946", "b:7946")),
        ("CLUSTER_SEED_NODES", " a , 10.0.1.10:80, ", ("a:7946", "10.0.1.10:80")),
        ("CLUSTER_SEED_NODES", "[::1]:7000", ("[::1]:7000",)),
        ("CLUSTER_SEED_NODES", "", ()),
        ("FAILOVER_SECONDARY_NODES", "n2,n3", ("n2", "n3")),
        ("CLUSTER_ADDRESS", "*", "0.0.0.0"),
        ("CLUSTER_ADDRESS", "[::]", "::"),
        ("CLUSTER_ADDRESS", "node_1.local", "node_1.local"),
        ("CLUSTER_NAME", "home/lab", "home/lab"),
        ("CLUSTER_SECRET_FILE", "/etc/mltb/secret", "/etc/mltb/secret"),
    ],
)
def test_text_becomes_a_value(name: str, text: str, value: object) -> None:
    assert parse_text(OPTIONS[name], text) == value


@pytest.mark.parametrize(
    ("name", "text", "message", "hint"),
    [
        ("CLUSTER_ENABLED", "maybe", "neither true nor false", "True"),
        ("CLUSTER_ENABLED", "", "neither true nor false", "True"),
        ("CLUSTER_PORT", "79.46", "not a whole number", ""),
        ("CLUSTER_PORT", "9" * 5000, "are more than 4096", ""),
        ("CLUSTER_PORT", "9" * 19, "not a whole number", ""),
        ("CLUSTER_PORT", "0", "outside 1 to 65534", ""),
        ("CLUSTER_PORT", "65535", "outside 1 to 65534", ""),
        ("CLUSTER_PORT", "tcp://10.0.0.1:7946", "Kubernetes", "enableServiceLinks"),
        ("CLUSTER_HEARTBEAT_INTERVAL", "5s", "not a number", "plain number"),
        ("CLUSTER_HEARTBEAT_INTERVAL", "inf", "not a number", ""),
        ("CLUSTER_HEARTBEAT_INTERVAL", "1_0", "not a number", ""),
        ("CLUSTER_HEARTBEAT_INTERVAL", "1e999", "finite", ""),
        ("CLUSTER_HEARTBEAT_INTERVAL", "0", "outside 0.1 to 300 s", ""),
        ("CLUSTER_NODE_ID", "Node 1", "no node id", "node-1"),
        ("CLUSTER_NODE_ID", "n" * 64, "no node id", "n" * 63),
        ("CLUSTER_ROLE", "witnes", "`voter`, `witness`, `observer`", "witness"),
        ("CLUSTER_NAME", "home lab", "no name", ""),
        ("CLUSTER_ADDRESS", "10.0.0.300", "neither an IP address", ""),
        ("CLUSTER_ADDRESS", "a b", "neither an IP address", ""),
        ("CLUSTER_SEED_NODES", "a:7946,a:7946", "named twice", ""),
        ("CLUSTER_SEED_NODES", "a:x", "no port", "host:port"),
        ("CLUSTER_SEED_NODES", "a:0", "outside 1 to 65535", ""),
        ("CLUSTER_SEED_NODES", ":7946", "host is missing", ""),
        ("CLUSTER_SEED_NODES", "::1:7946", "too many colons", "[::1]:7946"),
        ("CLUSTER_SECRET_FILE", "secret", "not an absolute path", "whole path"),
        ("CLUSTER_SECRET_FILE", "/a\0b", "zero byte", ""),
        ("CLUSTER_NAME", "x" * (TEXT_CHARS_MAX + 1), "are more than", ""),
    ],
)
def test_what_cannot_be_a_value_says_what_was_needed(name: str, text: str, message: str, hint: str) -> None:
    with pytest.raises(ValueProblem) as caught:
        parse_text(OPTIONS[name], text)
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("name", "raw", "value"),
    [
        ("CLUSTER_ENABLED", True, True),
        ("CLUSTER_PORT", 80, 80),
        ("CLUSTER_NODE_TIMEOUT", 3, 3.0),
        ("CLUSTER_SEED_NODES", ["a:1"], ("a:1",)),
        ("CLUSTER_SEED_NODES", "a:1,b:2", ("a:1", "b:2")),
    ],
)
def test_toml_becomes_a_value(name: str, raw: object, value: object) -> None:
    assert parse_value(OPTIONS[name], raw) == value


@pytest.mark.parametrize(
    ("name", "raw", "message"),
    [
        ("CLUSTER_ENABLED", "true", "true or false is needed, not text"),
        ("CLUSTER_ENABLED", 1, "true or false is needed, not a number"),
        ("CLUSTER_PORT", "7946", "whole number is needed, not text"),
        ("CLUSTER_PORT", True, "whole number is needed, not true or false"),
        ("CLUSTER_PORT", 79.0, "whole number is needed"),
        ("CLUSTER_NODE_TIMEOUT", True, "a number is needed, not true or false"),
        ("CLUSTER_NODE_TIMEOUT", 10**400, "finite"),
        ("CLUSTER_NODE_TIMEOUT", float("nan"), "finite"),
        ("CLUSTER_NODE_ID", 1, "text is needed, not a number"),
        ("CLUSTER_SEED_NODES", {"a": 1}, "a list is needed, not a table"),
        ("CLUSTER_SEED_NODES", [1], "each item is text, not a number"),
        ("CLUSTER_SEED_NODES", ["a"] * (LIST_ITEMS_MAX + 1), "items are more than"),
    ],
)
def test_toml_is_strict_about_types(name: str, raw: object, message: str) -> None:
    with pytest.raises(ValueProblem) as caught:
        parse_value(OPTIONS[name], raw)
    assert message in caught.value.message


@pytest.mark.parametrize("raw", ["s3cret-" + "x" * TEXT_CHARS_MAX, "s3cret\0", 7, ["s3cret"]])
def test_a_bad_secret_is_not_repeated(raw: object) -> None:
    with pytest.raises(ValueProblem) as caught:
        parse_value(OPTIONS["CLUSTER_SECRET"], raw)
    assert "s3cret" not in caught.value.message + caught.value.hint


@given(names, st.text(max_size=60) | st.text("0123456789.:-+e[],truefalsnao/*", max_size=30))
def test_garbage_text_is_a_value_problem_and_nothing_else(name: str, text: str) -> None:
    with contextlib.suppress(ValueProblem):
        parse_text(OPTIONS[name], text)


@given(names, toml_values)
def test_garbage_values_are_value_problems_and_nothing_else(name: str, raw: object) -> None:
    with contextlib.suppress(ValueProblem):
        parse_value(OPTIONS[name], raw)


@given(st.integers(0, 255), st.integers(0, 255), st.integers(1, 65535))
def test_addresses_survive_a_round_trip(first: int, last: int, port: int) -> None:
    assert split_address(f"10.{first}.0.{last}:{port}") == (f"10.{first}.0.{last}", port)
    assert split_address(f"[fd00::{first:x}]:{port}") == (f"fd00::{first:x}", port)


def test_a_host_is_an_address_or_a_name() -> None:
    assert check_host("mltb-0.mltb.default.svc.cluster.local") == "mltb-0.mltb.default.svc.cluster.local"
    for wrong in ("-a", "a..b", "a/b", "1.2.3", "x" * 254, "a\n"):
        with pytest.raises(ValueProblem):
            check_host(wrong)
