"""Linearizable reads without writing: the leader proves that it still leads, and the reader catches up with it.

ReadIndex (Raft, 6.4): a read waits for the index that was committed at the leader when a round of a quorum began
after the read did. Reads that arrive while a round is under way share the next one.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from mltb_transport.store import Forward, Forwarded
from mltbd.core.consensus import Consensus
from mltbd.core.effects import Reply
from mltbd.core.leadership import Leadership
from mltbd.core.outbox import Outbox

PATIENCE_S = 4.0
WAITING_MAX = 1024
HINT = "mltbctl status"


@dataclass(frozen=True, slots=True)
class ReadRound:
    """Tag of a round that reads wait for, in the reign that began it."""

    number: int


@dataclass(slots=True)
class Asked:
    """A read of our own. `index` is -1 until the leader has told it."""

    give_up_at: float
    index: int = -1


class Reads:
    """Requests are numbers of the shell, each answered once by a Reply; a result means: read your own state now."""

    def __init__(self, consensus: Consensus, out: Outbox) -> None:
        self._me = consensus.me
        self._consensus = consensus
        self._out = out
        self._asked: OrderedDict[int, Asked] = OrderedDict()
        self._gathered: list[tuple[str, int]] = []  # (node, number) for the next round
        self._under_way: list[tuple[str, int]] = []
        self._index = 0  # what was committed when the round under way began
        self._rounds = 0
        self._reign: tuple[str, int] = ("", 0)
        self._led: Leadership | None = None

    def next_deadline(self) -> float:
        return next(iter(self._asked.values())).give_up_at if self._asked else float("inf")

    @property
    def waits(self) -> bool:
        """Whether reads of our own clients wait."""
        return bool(self._asked)

    # -- in ------------------------------------------------------------------------------------------------------

    def ask(self, request: int, now: float) -> None:
        """A read of our own, or many that came together."""
        self.watch()
        leader = self._consensus.leader
        if not leader:
            self._fail(request, "no_quorum", "no leader with a quorum can be reached")
        elif len(self._asked) >= WAITING_MAX:
            self._fail(request, "overloaded", f"{WAITING_MAX} reads wait already")
        else:
            self._asked[request] = Asked(now + PATIENCE_S)
            if leader == self._me:
                self._gathered.append((self._me, request))
            else:
                self._out.send(leader, Forward(request, ()))

    def asked(self, sender: str, message: Forward) -> None:
        """Another node asks for an index to read at."""
        self.watch()
        if self._consensus.reign is None:
            self._out.send(sender, Forwarded(message.number, "unavailable", "this node does not lead any more", 0))
        elif len(self._gathered) >= WAITING_MAX:
            self._out.send(sender, Forwarded(message.number, "overloaded", f"{WAITING_MAX} reads wait already", 0))
        else:
            self._gathered.append((sender, message.number))

    def told(self, message: Forwarded) -> None:
        """The leader's word on what we asked."""
        asked = self._asked.get(message.number)
        if asked is None:
            return
        if message.code:
            del self._asked[message.number]
            self._fail(message.number, message.code, message.message)
        else:
            asked.index = message.index

    # -- on ------------------------------------------------------------------------------------------------------

    def work(self, now: float, applied: int) -> bool:
        """Begin a round if one is wanted, answer who need not wait longer. True when a round began."""
        if not (self._asked or self._gathered or self._under_way or self._consensus.confirmations):
            return False
        self.watch()
        self._take_confirmed()
        began = self._begin(now)
        if began:
            self._take_confirmed()  # Where we are a quorum by ourselves.
        for request, asked in list(self._asked.items()) if self._asked else ():
            if 0 <= asked.index <= applied:
                del self._asked[request]
                self._out.put(Reply(request))
            elif asked.give_up_at <= now:
                del self._asked[request]
                self._fail(request, "no_quorum", "no quorum confirmed the leader in time")
        return began

    def _begin(self, now: float) -> bool:
        # Before an entry of our own term is committed we may not know all that is.
        if not self._gathered or self._under_way or not self._consensus.in_charge:
            return False
        self._rounds += 1
        self._index = self._consensus.commit
        if not self._consensus.confirm(ReadRound(self._rounds), now):
            return False
        self._under_way, self._gathered = self._gathered, []
        return True

    def _take_confirmed(self) -> None:
        tags = self._consensus.confirmations
        if not tags or not any(isinstance(tag, ReadRound) for tag in tags):
            return
        self._consensus.confirmations = [tag for tag in tags if not isinstance(tag, ReadRound)]
        if ReadRound(self._rounds) not in tags:
            return
        for node, number in self._under_way:
            if node != self._me:
                self._out.send(node, Forwarded(number, "", "", self._index))
            elif number in self._asked:
                self._asked[number].index = self._index
        self._under_way = []

    def watch(self) -> None:
        """What one leader was asked, another cannot answer: such reads are to be asked anew."""
        consensus = self._consensus
        if consensus.reign is not self._led:
            self._led = consensus.reign
            self._gathered, self._under_way = [], []
            self._rounds += 1  # A round of the old reign answers nothing.
        reign = (consensus.leader, consensus.term)
        if reign == self._reign:
            return
        self._reign = reign
        for request, asked in list(self._asked.items()):
            if asked.index < 0:
                del self._asked[request]
                self._fail(request, "unavailable", "the leader changed")

    def _fail(self, request: int, code: str, message: str) -> None:
        self._out.put(Reply(request, code, message, HINT))
