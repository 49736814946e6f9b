"""Times of a pause in words, and what has not left a node that is drained."""

from __future__ import annotations

from typing import Any

import pytest

from mltbctl.commands.node import leftovers
from mltbctl.commands.pause import seconds_of
from mltbctl.errors import CliError
from tests.mltbctl import pictures


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("45s", 45), ("30m", 1800), ("1.5h", 5400), ("2h", 7200), ("30d", 2_592_000)]
)
def test_times(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "soon", "-5", "31d", "5 m", "1h30m", "inf", "nan", "9" * 400])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(CliError) as caught:
        seconds_of(text)
    assert caught.value.code == "usage"


def voters(**changes: Any) -> dict[str, Any]:
    nodes = [each | {"voter": True} for each in pictures.healthy()["nodes"]]
    return pictures.changed(pictures.healthy(), nodes=nodes, **changes)


MAIN = {"main"}


def test_until_it_is_empty() -> None:
    assert leftovers(voters(), "n1", MAIN) == ["`main` has not left", "it leads"]
    assert leftovers(voters(workloads=[pictures.workload(owner=None)]), "n1", MAIN) == [
        "`main` is on its way", "it leads",
    ]  # fmt: skip
    gone = voters(workloads=[pictures.workload(owner="n2")], cluster={"leader": "n2"})
    assert leftovers(gone, "n1", MAIN) == []


def test_what_was_never_there_is_not_waited_for() -> None:
    assert leftovers(voters(workloads=[pictures.workload(owner=None)], cluster={"leader": "n2"}), "n1", set()) == []


def test_who_alone_can_lead_goes_on_leading() -> None:
    picture = voters(workloads=[])
    for node in picture["nodes"][1:]:
        node["drained"] = {"since": None, "by": "ann", "reason": None}
    assert leftovers(picture, "n1", set()) == []
