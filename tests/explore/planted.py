"""Planted bugs for the exploration: each takes one rule out, and must be found from the model named beside it."""

from __future__ import annotations

from dataclasses import dataclass

from tests.explore.lease import LEASE_MODELS, LeaseModel
from tests.explore.models import MODELS, Model
from tests.sim import planted, planted_lease, planted_voters
from tests.sim.planted import Plant

COMMITTED = "committed is stable"
ON_DISK = "committed is on disk"
TWICE = "one at a time"
BY_NAME: dict[str, Model | LeaseModel] = {model.name: model for model in (*MODELS, *LEASE_MODELS)}


@dataclass(frozen=True, slots=True)
class Bug:
    """`rule` is the one that must be found broken."""

    name: str
    plant: Plant
    model: Model | LeaseModel
    rule: str


BUGS = (
    Bug("two votes a term", planted.two_votes_a_term, BY_NAME["two elections"], "one leader per term"),
    Bug(
        "vote before disk",
        planted.vote_before_disk,
        BY_NAME["two elections, a crash, a slow disk"],
        "one leader per term",
    ),
    Bug("own vote unsaved", planted.own_vote_unsaved, BY_NAME["one election, a crash, a slow disk"], ON_DISK),
    Bug("log before disk", planted.log_before_disk, BY_NAME["another leader, a crash, a slow disk"], ON_DISK),
    Bug("any log wins", planted.any_log_wins, BY_NAME["another leader, an entry"], COMMITTED),
    Bug("old terms counted", planted.old_terms_counted, BY_NAME["logs that forked, two elections"], COMMITTED),
    Bug(
        "two changes at once",
        planted_voters.two_at_once,
        BY_NAME["two changes of the voters, another leader"],
        COMMITTED,
    ),
    Bug(
        "removed still counts",
        planted_voters.removed_still_counts,
        BY_NAME["a change of the voters, another leader"],
        ON_DISK,
    ),
    Bug("change before own term", planted_voters.before_own_term, BY_NAME["half a change, another leader"], COMMITTED),
    Bug("lease age ignored", planted_lease.age_ignored, BY_NAME["the owner led and is cut off"], TWICE),
    Bug("short wait", planted_lease.short_wait, BY_NAME["the owner led and is cut off"], TWICE),
)
