"""At most once: the last command of each client and its outcome. A repeat is answered from here, never done again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

from mltbd.state.locks import ALL_WAITERS_MAX, LOCKS_MAX

CLIENTS_MAX = 10_000
"""Beside those whose lock stands."""
KEEP_ENTRIES = 1000
"""A client that sent anything within so many entries of the log is not forgotten to make room: a repeat of its first
command may still be on its way."""
KEPT_MAX = LOCKS_MAX + ALL_WAITERS_MAX + 4096
"""Of clients beyond that. More than can stand: who looks for those that stand no longer looks seldom."""

Outcome = tuple[Any, ...]
"""A word (ok, conflict, held, waits, lost, error), then plain values: see store.py."""


class Last(NamedTuple):
    """What a client asked last, what came of it, and in which entry of the log."""

    seq: int
    outcome: Outcome
    place: int


class Clients:
    """The least recently heard client comes first, and is the first to be forgotten; but not while its outcome is a
    lock that it holds or waits for: a repeat may come as long as that stands, and would stand in line behind itself."""

    def __init__(self) -> None:
        self._last: OrderedDict[str, Last] = OrderedDict()
        self._kept: dict[str, Last] = {}

    def __len__(self) -> int:
        return len(self._last) + len(self._kept)

    def known(self, client: str, seq: int, index: int) -> Outcome | None:
        """The outcome to give without doing anything; None: the command is new, so do it and `remember`."""
        last = self._last.get(client) or self._kept.get(client)
        if last is None and seq != 1:
            return error("forgotten", f"client `{client}` is not known here any more")
        if last is not None and seq == last.seq:
            return last.outcome
        if last is not None and seq < last.seq:
            return error("forgotten", f"client `{client}` is at command {last.seq}, command {seq} is over")
        if client not in self._last and len(self._last) >= CLIENTS_MAX:
            oldest = next(iter(self._last.values()))
            if index - oldest.place < KEEP_ENTRIES:
                why = f"{CLIENTS_MAX} clients were active in the last {KEEP_ENTRIES} entries of the log"
                return error("overloaded", why)  # Not for good: a repeat under this number may find room.
        return None

    def remember(self, client: str, seq: int, outcome: Outcome, index: int, stands: Callable[[Outcome], bool]) -> None:
        """This command was done now. `stands`: whether an outcome is a lock that is held, or waited for, under its id
        still."""
        self._kept.pop(client, None)
        if client not in self._last and len(self._last) >= CLIENTS_MAX:
            oldest, last = self._last.popitem(last=False)
            if stands(last.outcome):
                self._keep(oldest, last, stands)
        self._last[client] = Last(seq, outcome, index)
        self._last.move_to_end(client)

    def _keep(self, client: str, last: Last, stands: Callable[[Outcome], bool]) -> None:
        if len(self._kept) >= KEPT_MAX:
            self._kept = {other: kept for other, kept in self._kept.items() if stands(kept.outcome)}
        self._kept[client] = last

    def dump(self) -> list[Any]:
        """All of it, as plain lists: first those in order, then those that are kept."""
        return [
            [[client, last.seq, list(last.outcome), last.place] for client, last in clients.items()]
            for clients in (self._last, self._kept)
        ]

    @classmethod
    def load(cls, dumped: list[Any]) -> Clients:
        """The inverse of `dump`."""
        loaded = cls()
        in_order, kept = dumped
        for clients, rows in ((loaded._last, in_order), (loaded._kept, kept)):
            for client, seq, outcome, index in rows:
                clients[client] = Last(seq, tuple(outcome), index)
        return loaded

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Clients) and self.dump() == other.dump()


def error(code: str, message: str) -> Outcome:
    """What a command comes to that changes nothing."""
    return ("error", code, message)
