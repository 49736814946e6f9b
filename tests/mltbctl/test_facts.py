"""One node's nonsense is told of that node, and keeps nobody from hearing about the others."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, cast

import pytest

from mltbctl.client import Client
from mltbctl.commands.doctor import doctor
from mltbctl.commands.reach import reachability, rtt
from mltbctl.diagnosis import OK, diagnose
from mltbctl.facts import UNREADABLE, readable
from mltbctl.result import Result, Style
from tests.daemon.runtime.live import Live
from tests.mltbctl import pictures, surveys

Way = tuple[Any, ...]


class Told:
    """A client that is told this survey of a healthy cluster."""

    def __init__(self, survey: dict[str, Any]) -> None:
        self._survey = survey

    def status(self) -> dict[str, Any]:
        return pictures.healthy()

    def survey(self, *, quick: bool = False) -> dict[str, Any]:
        del quick
        return self._survey


def ways(told: Any) -> Iterator[Way]:
    """The places of all that is told, deep down too."""
    for key in told if isinstance(told, dict) else range(len(told)) if isinstance(told, list) else ():
        yield (key,)
        yield from ((key, *more) for more in ways(told[key]))


def spoilt(way: Way, value: object) -> dict[str, Any]:
    """A survey where one place of what n3 tells has another value; none at all for `...`."""
    survey = surveys.healthy()
    survey["facts"]["n3"]["refused_by"] = [{"address": "n1:7946", "node": "n1"}]
    place = survey["facts"]["n3"]
    for step in way[:-1]:
        place = place[step]
    place[way[-1]] = value
    if value is ...:
        del place[way[-1]]
    return survey


EVERYWHERE = list(ways(spoilt(("node",), "n3")["facts"]["n3"]))
HUGE = pytest.param(10**400, id="huge")


@pytest.mark.parametrize("value", [..., None, True, 7, -0.5, "x", [], {}, [7], {"x": 7}, HUGE, float("inf")])
def test_no_nonsense_of_one_node_keeps_the_others_from_being_judged(value: object) -> None:
    for way in EVERYWHERE:
        client = cast("Client", Told(spoilt(way, copy.deepcopy(value))))
        for result in (doctor(client, None, strict=False), reachability(client), rtt(client)):
            assert "n1" in shown(result)


def shown(result: Result) -> str:
    return result.text if isinstance(result.text, str) else result.text(Style())


def test_what_cannot_be_read_is_told_of_its_node() -> None:
    survey = readable(spoilt(("heard",), ...))
    assert (survey["facts"]["n3"], survey["silent"]) == (None, {"n3": UNREADABLE})
    bad = [each for each in diagnose(pictures.healthy(), survey) if each.level != OK]
    assert [(each.check, each.node, each.message) for each in bad] == [("answers", "n3", UNREADABLE)]


def test_what_a_daemon_tells_can_be_read() -> None:
    with Live(2) as live:
        live.formed()
        for quick in (True, False):
            told = live.ask("n1", "survey", {"quick": quick})
            assert readable(told) == told
