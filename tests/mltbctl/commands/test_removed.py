"""A removal whose answer was lost: what became of it is looked up, not left to the operator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mltbctl.commands import voters
from tests.mltbctl import pictures
from tests.mltbctl.fake_daemon import FakeDaemon, Refusal
from tests.mltbctl.terminal import run_here
from tests.mltbctl.test_cli import change

Serve = Callable[..., FakeDaemon]
QUORUM = pictures.healthy()["cluster"]["quorum"]


def lost(params: dict[str, Any]) -> dict[str, Any]:
    """As when the leader takes itself out: it is gone before it has answered."""
    if params.get("dry_run"):
        return change("removed", 3, 2)
    raise Refusal(code="unknown_outcome", message="the leader changed meanwhile")


@pytest.mark.parametrize(
    ("listed", "left", "code"),
    [
        (("n1", "n2"), 2, 0),
        (("n1", "n2", "n3"), 3, 6),
        (("n1", "n2"), 3, 6),  # Nobody has met n3 since: it is listed nowhere, and has its vote all the same.
    ],
)
def test_a_removal_without_an_answer(
    listed: tuple[str, ...],
    left: int,
    code: int,
    serve: Serve,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(voters, "GONE_S", 0.5)
    seen = pictures.changed(pictures.healthy(), cluster={"quorum": QUORUM | {"voters": left}})
    seen["nodes"] = [pictures.node(name) for name in listed]
    serve("n2", node_remove=lost, status=lambda _: seen)
    outcome = run_here(capsys, "node", "remove", "n3", "--yes")
    assert outcome.code == code
    assert ("n3 is removed" in outcome.out) == (code == 0)
