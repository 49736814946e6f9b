"""Everything a node does for the clients of locks and state, behind one door: commands, reads, the clock of locks."""

from __future__ import annotations

from mltb_transport.store import Forward, Forwarded, Packed
from mltbd.core.commands import Commands
from mltbd.core.consensus import Consensus
from mltbd.core.events import Recovered
from mltbd.core.expiry import Expiry
from mltbd.core.outbox import Outbox
from mltbd.core.reads import Reads
from mltbd.state.machine import State


class StoreDesk:
    """Feed it what arrives, tell it what was applied, and let it `work` after every event."""

    def __init__(self, recovered: Recovered, consensus: Consensus, state: State, out: Outbox) -> None:
        self._state = state
        self.commands = Commands(consensus, out, recovered.first_number)
        self.reads = Reads(consensus, out)
        self.expiry = Expiry(recovered.incarnation, consensus, state, self.commands)
        self.listening = False
        """Somebody here waits for what other nodes' clients do."""

    @property
    def listens(self) -> bool:
        """Whether somebody here waits for news of what is committed."""
        return self.listening or self.commands.waits or self.reads.waits

    def next_deadline(self) -> float:
        return min(self.commands.next_deadline(), self.reads.next_deadline(), self.expiry.next_deadline())

    def submit(self, commands: tuple[Packed, ...], now: float) -> None:
        self.commands.submit(commands, now)

    def read(self, request: int, now: float) -> None:
        self.reads.ask(request, now)

    def received(self, sender: str, message: Forward | Forwarded) -> None:
        """What another node passes on, and the leader's word on what we did."""
        if isinstance(message, Forwarded):
            if message.number < 0:
                self.commands.refused(message)
            else:
                self.reads.told(message)
        elif message.commands:
            self.commands.forwarded(sender, message)
        else:
            self.reads.asked(sender, message)

    def applied(self) -> None:
        """An entry took effect."""
        self.commands.applied(self._state.done)

    def work(self, now: float, wall: int) -> bool:
        """What is due. True when more may follow from it."""
        said = self.expiry.work(now)
        proposed = self.commands.work(now, wall, self._state.applied)
        began = self.reads.work(now, self._state.applied)
        return said or proposed or began
