"""At most once: the last command of each client and its outcome. A repeat is answered from here, never done again."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple

CLIENTS_MAX = 10_000
KEEP_ENTRIES = 1000
"""A client that sent anything within so many entries of the log is not forgotten to make room: a repeat of its first
command may still be on its way."""

Outcome = tuple[Any, ...]
"""A word (ok, conflict, held, waits, lost, error), then plain values: see store.py."""


class Last(NamedTuple):
    """What a client asked last, what came of it, and in which entry of the log."""

    seq: int
    outcome: Outcome
    place: int


class Clients:
    """The least recently heard client comes first, and is the first to be forgotten."""

    def __init__(self) -> None:
        self._last: OrderedDict[str, Last] = OrderedDict()

    def __len__(self) -> int:
        return len(self._last)

    def known(self, client: str, seq: int, index: int) -> Outcome | None:
        """The outcome to give without doing anything; None: the command is new, so do it and `remember`."""
        last = self._last.get(client)
        if last is None:
            if seq != 1:
                return _error("forgotten", f"client `{client}` is not known here any more")
            if len(self._last) >= CLIENTS_MAX:
                oldest = next(iter(self._last.values()))
                if index - oldest.place < KEEP_ENTRIES:
                    return _error(
                        "full", f"{CLIENTS_MAX} clients were active in the last {KEEP_ENTRIES} entries of the log"
                    )
            return None
        if seq == last.seq:
            return last.outcome
        if seq < last.seq:
            return _error("forgotten", f"client `{client}` is at command {last.seq}, command {seq} is over")
        return None

    def remember(self, client: str, seq: int, outcome: Outcome, index: int) -> None:
        """This command was done now."""
        if client not in self._last and len(self._last) >= CLIENTS_MAX:
            self._last.popitem(last=False)
        self._last[client] = Last(seq, outcome, index)
        self._last.move_to_end(client)

    def dump(self) -> list[Any]:
        """All of it, as plain lists."""
        return [[client, last.seq, list(last.outcome), last.place] for client, last in self._last.items()]

    @classmethod
    def load(cls, dumped: list[Any]) -> Clients:
        """The inverse of `dump`."""
        loaded = cls()
        for client, seq, outcome, index in dumped:
            loaded._last[client] = Last(seq, tuple(outcome), index)
        return loaded

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Clients) and self.dump() == other.dump()


def _error(code: str, message: str) -> Outcome:
    return ("error", code, message)
