"""Who was removed from our cluster: what it says of itself is left, and it is told so when it speaks."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

from mltb_transport.records import Record
from mltb_transport.voters import Removed
from mltbd.core.effects import Contact
from mltbd.core.peers import flaw
from mltbd.core.roster import Roster

TOLD_AGAIN_S = 3.0
"""Between two messages to a removed node that goes on speaking."""


class Refusals:
    """`removed`: (node, store) -> the entry that took it out, as the log has it."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self.removed: Mapping[tuple[str, str], int] = {}
        self._tell_at: dict[tuple[str, str], float] = {}

    def become(self, removed: Mapping[tuple[str, str], int]) -> None:
        """These are no members from now on: not listed, not listened to."""
        self.removed = dict(removed)
        self._tell_at = {subject: at for subject, at in self._tell_at.items() if subject in removed}
        for node, store in removed:
            self._roster.turn_out(node, store)

    def __contains__(self, record: Record) -> bool:
        return (record.node, record.store) in self.removed

    def answer(self, sender: str, records: tuple[Record, ...], cluster: str, now: float) -> list[Contact]:
        """A removed node speaks for itself: it may not know. Of what others say of it there is nothing to answer."""
        told = []
        for record in records:
            subject = (record.node, record.store)
            if record.node != sender or record not in self or flaw(record) or now < self._tell_at.get(subject, -inf):
                continue
            self._tell_at[subject] = now + TOLD_AGAIN_S
            word = Removed(cluster, *subject, self.removed[subject])
            told.append(Contact(f"{record.address}:{record.port}", word))
        return told
