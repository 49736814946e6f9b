"""The document lists what the code has: every kind and every counter."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mltb_transport.bus import COUNTERS
from mltb_transport.messages import COMMANDS, KINDS, Command, Message

DESIGN = (Path(__file__).parents[2] / "transport" / "DESIGN.md").read_text()


def test_every_kind_is_in_the_table_and_nothing_else() -> None:
    listed = {int(number): name for number, name in re.findall(r"^\| (\d+) \| (\w+) \|", DESIGN, re.MULTILINE)}
    assert listed == {number: cls.__name__ for number, cls in KINDS.items()}


@pytest.mark.parametrize("name", COUNTERS)
def test_every_counter_is_explained(name: str) -> None:
    assert f"`{name}`" in DESIGN


def test_every_message_and_command_has_one_number() -> None:
    assert set(KINDS.values()) == set(Message.__args__)
    assert set(COMMANDS.values()) == set(Command.__args__)
    assert len(set(KINDS.values())) == len(KINDS)
    assert len(set(COMMANDS.values())) == len(COMMANDS)
