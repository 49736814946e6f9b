"""The level of the cluster as one node sees it: refuses what its build does not speak, and as leader raises the level.

What a member speaks is believed from its own answers to this leader in this term alone. Gossip may add to those who
are waited for, never replace what they say.
"""

from __future__ import annotations

from dataclasses import replace

from mltb_transport.level import Level
from mltb_transport.messages import Append
from mltbd.core.consensus import Consensus
from mltbd.core.effects import Halt
from mltbd.core.leadership import PEERS_MAX, Leadership
from mltbd.core.level_rules import Mate, Speaks, refusal, spoken, target, wait
from mltbd.core.membership import Membership
from mltbd.core.node_config import NodeConfig
from mltbd.core.outbox import Outbox
from mltbd.state.machine import State

STRANGERS_MAX = 16


class LevelDesk:
    """Every node has one. At most one rise is under way at any time."""

    def __init__(
        self, config: NodeConfig, consensus: Consensus, state: State, membership: Membership, out: Outbox
    ) -> None:
        self.speaks = config.speaks
        self.halted = False
        """This node must not take part any more: nothing it decides counts."""
        self.strangers: dict[str, int] = {}
        """Nodes whose messages this build cannot read, and the version they speak."""
        self._patience_s = config.level_patience_s
        self._me = consensus.me
        self._consensus = consensus
        self._state = state
        self._membership = membership
        self._out = out
        self._pause_s = consensus.timing.heartbeat_s
        self._look_at = float("-inf")
        self._reign: Leadership | None = None
        self._proposed = 0  # index of the rise that is under way
        self._asked: tuple[int, float] | None = None  # the round that all must answer, and by when
        self._held = 0  # index of the last entry that was not taken, to tell of it once
        consensus.speaks = config.speaks

    @property
    def level(self) -> int:
        """Of the cluster as far as it is applied here; 0 while that is unknown."""
        return self._state.levels.level if self._state.applied else 0

    # -- what we must not take -------------------------------------------------------------------------------

    def readable(self, leader: str, message: Append) -> Append | None:
        """What of it may be taken into our log; None when this build must not take part.

        An entry that we do not speak may still be cut from its leader's log, so only the leader's word that the
        cluster *is* at that level ends this node.
        """
        if message.term < self._consensus.term:
            return message  # To be answered with our term.
        if message.level and (why := refusal(self.speaks, message.level)):
            self._halt(f"{why} ({leader} leads)")
            return None
        entries = spoken(self.speaks, message.entries)
        if len(entries) == len(message.entries):
            return message
        first = message.entries[len(entries)].index
        if first != self._held:
            self._held = first
            self._out.note("error", f"entry {first} is beyond protocol {self.speaks}, which this mltbd speaks")
        return replace(message, entries=entries)

    def unreadable(self, sender: str, version: int) -> None:
        """A node speaks a version that this build cannot even read."""
        if sender in self.strangers or len(self.strangers) < STRANGERS_MAX:
            self.strangers[sender] = version
            self._out.note("warning", self.stranger_words(sender))

    def heard(self, sender: str) -> None:
        """What it says can be read."""
        self.strangers.pop(sender, None)

    def stranger_words(self, sender: str) -> str:
        reads = f"{self.speaks.oldest} to {self.speaks.newest + 1}"
        return f"{sender} speaks protocol {self.strangers[sender]}, this node {reads}: they cannot work together"

    def _halt(self, why: str) -> None:
        self.halted = True
        self._out.put(Halt(why))

    # -- raising it ------------------------------------------------------------------------------------------

    def applied(self) -> None:
        """After entries were applied, or a snapshot was taken over."""
        self._consensus.level, self._consensus.level_at = self.level, self._state.applied

    def work(self, now: float, wall: int) -> bool:
        """As leader: propose the next level once it may rise. Looked at as often as the leader speaks."""
        reign = self._consensus.reign
        if reign is not self._reign:
            self._reign, self._asked, self._look_at, self._proposed = reign, None, float("-inf"), 0
        if reign is None or now < self._look_at or not self._consensus.current(self._state.applied):
            return False
        self._look_at = now + self._pause_s
        if why := refusal(self.speaks, self.level):
            self._halt(why)
            return False
        if self._proposed > self._state.applied:
            return False
        mates = self._mates(reign, now)
        level = target(self.speaks, mates)
        if level <= self.level or wait(self.level, self.speaks, mates, now - reign.won_at, self._patience_s):
            self._asked = None
            return False
        if not self._all_answer(reign, mates, now):
            return False
        index = self._consensus.propose(Level(level), now, wall)
        if index is not None:
            self._proposed = index
            self._out.note("info", f"raises the protocol level from {self.level} to {level}: all members speak it")
        return index is not None

    def _all_answer(self, reign: Leadership, mates: tuple[Mate, ...], now: float) -> bool:
        """Whether everybody has said so again in a round that began after we first found that it is time.

        A late message of a daemon that is gone answers an older round.
        """
        if self._asked is None or now > self._asked[1]:
            self._asked = (reign.round + 1, now + self._consensus.silence_s)
        return all(mate.said_round >= self._asked[0] for mate in mates)

    def _mates(self, reign: Leadership, now: float) -> tuple[Mate, ...]:
        """Voters, observers, and whoever gossip takes for one, by id; without ourselves and who was removed."""
        names = {*reign.voters, *reign.peers}
        if len(reign.peers) < PEERS_MAX:  # Those beyond are not replicated to: no entry ever reaches them.
            cluster = self._membership.own.cluster
            members = self._membership.members(now)
            names |= {m.record.node for m in members if m.record.cluster in ("", cluster)}
        found = []
        for node in sorted(names - {self._me}):
            peer = reign.peers.get(node)
            if peer is None or peer.speaks is None:
                found.append(Mate(node, None))
            elif not self._state.removals.has(node, peer.store):
                found.append(Mate(node, Speaks(*peer.speaks), peer.said_round, now - peer.said_since))
        return tuple(found)

    def waits(self, now: float) -> str:
        """What the next level waits for, in words; empty where there is none, and on every node but the leader."""
        reign = self._consensus.reign
        if reign is None or not self._consensus.current(self._state.applied):
            return ""
        mates = self._mates(reign, now)
        if why := wait(self.level, self.speaks, mates, now - reign.won_at, self._patience_s):
            return why
        if (rises := target(self.speaks, mates)) <= self.level:
            return ""  # Of some we may know by gossip alone: we have not begun to replicate to them.
        silent = [m.node for m in mates if now - reign.peers[m.node].acked_at > self._consensus.silence_s]
        return f"level {rises} waits: {silent[0]} is silent" if silent else ""
