"""Which texts are values."""

from __future__ import annotations

import json

import pytest

from mltb_transport.limits import VALUE_BYTES_MAX
from mltbd.runtime.store_params import LEVELS_MAX, flaw_of_value

DEEP = f"`value` is nested deeper than {LEVELS_MAX} levels"


def lists(levels: int, inside: str = "") -> str:
    return "[" * levels + inside + "]" * levels


def objects(levels: int, inside: str = "1") -> str:
    return '{"a":' * levels + inside + "}" * levels


@pytest.mark.parametrize(
    ("value", "flaw"),
    [
        ("1", ""),
        ("{", "`value` is not JSON"),
        ("NaN", "`value` is not JSON"),
        ("[-Infinity]", "`value` is not JSON"),
        ("[" * (LEVELS_MAX - 1), "`value` is not JSON"),
        (lists(LEVELS_MAX), ""),
        (lists(LEVELS_MAX + 1), DEEP),
        (lists(20_000), DEEP),
        (objects(LEVELS_MAX), ""),
        (objects(LEVELS_MAX + 1), DEEP),
        (f'[{{"b":{lists(LEVELS_MAX - 2)},"c":[]}},2]', ""),
        (f'[{{"b":{lists(LEVELS_MAX - 1)},"c":[]}},2]', DEEP),
        (json.dumps("[{" * 1000), ""),
        (json.dumps([[{}]] * 1000), ""),
        (json.dumps("x" * VALUE_BYTES_MAX), "`value` is longer than 64 KiB"),
    ],
)
def test_what_is_wrong_with_a_value(value: str, flaw: str) -> None:
    assert flaw_of_value(value) == flaw
