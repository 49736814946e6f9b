"""Where an operator's request waits while its leader knows less than was committed: after its election, and between
the commit of an entry and its being applied. Nothing can be judged then, and nothing is refused for it either."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from mltbd.core.consensus import Consensus
from mltbd.core.effects import Reply
from mltbd.core.events import Ask
from mltbd.core.outbox import Outbox

WAITING_MAX = 64


class Anteroom:
    """Every request that is taken is judged later, in the order of arrival, or answered: it was not carried out."""

    def __init__(self, consensus: Consensus, out: Outbox) -> None:
        self._consensus = consensus
        self._out = out
        self._waiting: deque[tuple[Ask, float]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self, ask: Ask, now: float) -> None:
        """Nobody can judge it at this moment."""
        if self._consensus.reign is not None and len(self._waiting) < WAITING_MAX:
            self._waiting.append((ask, now))
        elif self._consensus.reign is not None:
            self._answer(ask, "unavailable", "too many requests wait", "try again")
        elif self._consensus.leader:
            self._answer(ask, "unavailable", f"{self._consensus.leader} leads by now", "try again")
        else:
            self._answer(ask, "no_quorum", "no leader with a quorum can be reached", "mltbctl status")

    def serve(self, ready: Callable[[], bool], judge: Callable[[Ask], None], now: float) -> bool:
        """Have judged what waits, as long as there is somebody `ready` for it. True when something was."""
        served = False
        while self._waiting and now - self._waiting[0][1] > self._consensus.silence_s:
            late, _ = self._waiting.popleft()
            self._answer(late, "unavailable", "what was committed is not on this leader's disk yet", "try again")
        while self._waiting and ready():
            judge(self._waiting.popleft()[0])
            served = True
        return served

    def dismiss(self) -> None:
        """The reign is over."""
        while self._waiting:
            self._answer(self._waiting.popleft()[0], "unavailable", "leadership is changing hands", "try again")

    def _answer(self, ask: Ask, code: str, message: str, hint: str) -> None:
        self._out.put(Reply(ask.request, code, message, hint))
