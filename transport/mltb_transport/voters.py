"""What daemons say to each other about the voters: who counts for quorum, and who is no member any more."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Voter:
    """A member that counts for quorum. `store` names the disk: a wiped node is another voter."""

    node: str
    store: str


@dataclass(frozen=True, slots=True)
class ChangeVoters:
    """From this entry on, and from the moment it is appended, these are the voters: at most one differs from before.

    `node` and `store` say whom it is about. `cause`: promoted, lost (its disk is gone), removed (by an operator; it
    is refused from now on, voter or not), admitted (refused no longer), recovered (unsafe: by an operator).
    """

    voters: tuple[Voter, ...]
    cause: str
    node: str
    store: str
    reason: str = ""
    operator: str = ""


@dataclass(frozen=True, slots=True)
class Removed:
    """To a node that speaks as a member and is none: entry `index` removed `node` with the disk `store`.

    Who says so may be behind: the node can have been let in again since.
    """

    cluster: str
    node: str
    store: str
    index: int
