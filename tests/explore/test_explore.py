"""Every order of messages, timers and crashes within small bounds, with the real core in each of the three members."""

from __future__ import annotations

import pytest

from tests.explore.lease import LEASE_MODELS, LeaseModel
from tests.explore.models import MODELS, Model
from tests.explore.planted import BUGS, Bug


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name.replace(" ", "-"))
def test_no_order_of_events_breaks_a_rule(model: Model, capsys: pytest.CaptureFixture[str]) -> None:
    found = model.search().run(model.states_max)
    with capsys.disabled():
        print(f"\n  {model.name}: {found}", end="")
    assert not found.wrong, "\n".join([*found.path, found.wrong])
    assert found.complete or found.states >= model.states_max
    assert found.complete or not model.whole, f"{model.name}: more than {model.states_max} states, so not all were seen"


@pytest.mark.parametrize("model", LEASE_MODELS, ids=lambda model: model.name.replace(" ", "-"))
def test_no_order_of_events_lets_it_run_twice(model: LeaseModel, capsys: pytest.CaptureFixture[str]) -> None:
    found = model.search().run(model.states_max)
    with capsys.disabled():
        print(f"\n  {model.name}: {found}", end="")
    assert not found.wrong, "\n".join([*found.path, found.wrong])
    assert found.complete or found.states >= model.states_max


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name.replace(" ", "-"))
def test_a_planted_bug_is_found(bug: Bug, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    bug.plant(monkeypatch)
    found = bug.model.search().run(bug.model.states_max)
    with capsys.disabled():
        print(f"\n  {bug.name}: found after {found.states} states and {len(found.path)} events: {found.wrong}", end="")
    assert found.wrong.startswith(bug.rule), found
