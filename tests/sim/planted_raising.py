"""Plants that are broken themselves, each in a way that has happened: the machinery must refuse them."""

from __future__ import annotations

from typing import Any

import pytest

from mltb_transport.messages import Election
from mltbd.core import election
from mltbd.core import voting as voting_module
from mltbd.core.consensus import Consensus
from mltbd.core.election import Ballot


def writes_what_is_read_only(patch: pytest.MonkeyPatch) -> None:
    def rule(candidate: str, asked: Election, mine: Ballot) -> str:
        mine.vote = ""  # type: ignore[misc]
        return election.refusal(candidate, asked, mine)

    patch.setattr(voting_module, "refusal", rule)


def reads_what_is_not_there(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Consensus, "_calm", lambda self, _now: self.no_such_thing)


def takes_other_arguments(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Consensus, "asked", lambda _self, _candidate: None)


def calls_with_other_arguments(patch: pytest.MonkeyPatch) -> None:
    asked: Any = Consensus.asked
    patch.setattr(Consensus, "asked", lambda self, candidate, *_rest: asked(self, candidate))


RAISING = (writes_what_is_read_only, reads_what_is_not_there, takes_other_arguments, calls_with_other_arguments)
