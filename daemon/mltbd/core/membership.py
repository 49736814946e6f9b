"""Who is there, where, in which state and how long silent: SWIM's order of facts over lossy gossip.

Everything here is a hint: rank, display, whom to talk to. Quorum, votes and leases never follow from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import inf, log2
from typing import Unpack

from mltb_transport.gossip import Loss, News, Probe, Probed
from mltb_transport.messages import Heartbeat, Ping, Pong, Suspicion, Sync
from mltb_transport.records import Record
from mltbd.core.effects import Contact, Effect, Note, Publish, Send
from mltbd.core.identity import Identity, OwnChanges
from mltbd.core.neighbourhood import Neighbourhood
from mltbd.core.peers import JITTER, Member, Peer, Retry, flaw, version
from mltbd.core.ports import Entropy
from mltbd.core.probing import Probing
from mltbd.core.refusals import Refusals
from mltbd.core.roster import LEAVING, Roster
from mltbd.core.rumours import Rumours, records_of
from mltbd.core.strain import CONFIRMATIONS_MAX

SEEDS_MAX = 64
RECORDS_MAX = 128
"""Of one Sync; the rest is counted and left."""
HELPERS_MAX = 3
"""Members asked what they know of a suspect."""
PROBES = 6
"""Direct probes of a suspect, spread over one node timeout."""
SYNC_MIN_S, SYNC_MAX_S = 15.0, 30.0
SCALE_FROM = 32
"""Members above which exchanges become rarer, as their number's logarithm (memberlist)."""

Gossip = Heartbeat | Sync | Ping | Pong | News | Probe | Probed


class Membership:
    """The members as one node sees them. Every method that takes an event returns what to do about it.

    `own` is this node's record as it begins; `seeds` are `host:port` of gossip ports. All times are seconds
    of one monotonic clock. Raises ValueError for more than SEEDS_MAX seeds.

    Drop what a frame of another cluster brings before `alive`, and before `heard` for Ping and Pong: these
    carry no record. Heartbeat and Sync are recognised here, and refused with a warning.

    `incarnation` starts as the number of this run of the daemon. When others know us by a higher one (a disk
    put back to an earlier state, a wiped disk) it jumps past theirs, and frames must carry the new number.
    The jump is not written down: a later run that starts lower hears the claim again and jumps again, and
    all that hangs on it is which record others show.
    """

    def __init__(
        self, own: Record, seeds: Sequence[str], heartbeat_s: float, node_timeout_s: float, entropy: Entropy
    ) -> None:
        if len(seeds) > SEEDS_MAX:
            raise ValueError(f"{len(seeds)} seeds are more than {SEEDS_MAX}")
        self.counters: Counter[str] = Counter()
        """What was refused or left, by reason."""
        self.identity = Identity(own, self.counters)
        self.foreign = self.identity.foreign
        self._roster = Roster(node_timeout_s, self.counters)
        self._entropy = entropy
        self._heartbeat_s = heartbeat_s
        self._timeout_s = node_timeout_s
        self._seeds = {seed: Retry() for seed in seeds if seed != f"{own.address}:{own.port}"}
        self.refusals = Refusals(self._roster)
        self._hood = Neighbourhood(own.node, self._roster)
        self._rumours = Rumours(self._roster, self._hood, self.counters)
        self._probing = Probing(self._roster, self._hood, own.incarnation)
        self._beat_at = self._sync_at = inf
        self._refuted_at = self._helped_at = -inf

    # -- views -----------------------------------------------------------------------------------------------

    @property
    def node(self) -> str:
        return self.identity.own.node

    @property
    def incarnation(self) -> int:
        return self.identity.own.incarnation

    @property
    def own(self) -> Record:
        """This node's record, changes that wait for the next heartbeat included."""
        return self.identity.own

    def members(self, now: float) -> list[Member]:
        """All members, this node among them, by id."""
        seen = self._seen(now)
        found = [peer.shown(seen, self._roster.patience_s(peer, seen)) for peer in self._roster.peers.values()]
        found.append(Member(self.own, self.own.state, 0.0, None, False))
        return sorted(found, key=lambda member: member.record.node)

    def record(self, node: str) -> Record | None:
        """What `node` last said of itself; None for one that is no member."""
        if node == self.node:
            return self.own
        peer = self._roster.peers.get(node)
        return peer.record if peer else None

    def priority(self, node: str) -> int:
        """As it said last; 0 for one that is no member."""
        record = self.record(node)
        return record.priority if record is not None else 0

    def is_leaving(self, node: str) -> bool:
        record = self.record(node)
        return record is not None and record.state == LEAVING

    def reachable(self, node: str, now: float) -> bool:
        """It spoke to us, and gave a sign of life within the node timeout. This node always does."""
        return node == self.node or self._roster.is_reachable(node, self._seen(now))

    def next_deadline(self) -> float:
        """When to call `tick`; infinite before the start."""
        due = [self._beat_at, self._sync_at, self._rumours.due]
        due += [retry.at for retry in self._seeds.values()]
        for peer in self._hood.watched():
            due += (peer.pull.at, peer.check_at)
        return min(due) if self._started else inf

    # -- events ----------------------------------------------------------------------------------------------

    def start(self, now: float) -> list[Effect]:
        """The node begins to speak."""
        self._beat_at = now
        self._sync_at = now + self._entropy.uniform(SYNC_MIN_S, SYNC_MAX_S)
        for retry in self._seeds.values():
            retry.now(now)
        return self.tick(now)

    def tick(self, now: float) -> list[Effect]:
        """Do what is due."""
        effects = self._thaw(now)
        if not self._started:
            return effects
        if now >= self._beat_at:
            effects += self._beat(now)
        for address, retry in self._seeds.items():
            if now >= retry.at:
                effects += self._knock(address, retry, now)
        for peer in self._hood.watched():
            if now >= peer.check_at:
                effects += self._look_after(peer, now)
        if now >= self._sync_at:
            effects += self._exchange(now)
        return effects + self._say(now)

    def need(self, nodes: frozenset[str], now: float) -> list[Effect]:
        """Keep connections to these members, whoever our neighbours are: the voters, those we replicate to."""
        self._hood.need(nodes)
        return self._hood.rewire(now)

    def heard(self, sender: str, incarnation: int, message: Gossip, now: float) -> list[Effect]:
        """A message of the gossip came from `sender` itself, in a frame of its `incarnation`."""
        effects = self._thaw(now)
        records = records_of(message)
        if sender == self.node:
            return effects + self.identity.named(records)
        if isinstance(message, Heartbeat) and message.record.node != sender:
            self.counters["forged"] += 1
            return effects
        effects += self._merge(records, now, heartbeat=isinstance(message, Heartbeat))
        effects += self.refusals.answer(sender, records[:RECORDS_MAX], self.own.cluster, now)
        if not any(record.node == sender and self.identity.is_foreign(record) for record in records):
            effects += self._spoke(sender, incarnation, now)
            if isinstance(message, Sync) and message.reply:
                self._hood.welcome(sender)
            effects += self._hood.rewire(now)
            effects += self._answer(sender, message, now)
        return effects + self._say(now)

    def alive(self, sender: str, incarnation: int, now: float) -> list[Effect]:
        """Any other message came from `sender`: a sign of life, and perhaps of a new incarnation."""
        peer = self._roster.peers.get(sender)
        if peer is not None and peer.is_well(incarnation, now) and sender not in self._probing.awaited:
            return []
        effects = self._thaw(now)
        if sender != self.node:
            effects += self._spoke(sender, incarnation, now)
        return effects + self._say(now)

    def update_own(self, now: float, **changes: Unpack[OwnChanges]) -> list[Effect]:
        """This node has changed. Published at once, but for `applied` and what is left of leases."""
        before, cluster = self.identity.shown, self.own.cluster
        self.identity.change(changes)
        effects = self._thaw(now)
        for node, peer in sorted(self._roster.peers.items()) if self.own.cluster != cluster else ():
            if self.identity.is_foreign(peer.record):  # Our cluster was founded, or we joined one.
                effects += self.identity.met_foreign(peer.record)
                self._roster.expel(node, peer.record.store)
        effects += self._say(now)
        after = self.identity.shown
        if after.state == LEAVING != before.state:
            # By the surer way as well: the publication may be lost while our sockets close.
            effects += [Send(node, Sync((after,), reply=False)) for node in sorted(self._hood.linked)]
        return effects

    def strain(self, lag_s: float, now: float) -> list[Effect]:
        """Our own event loop ran `lag_s` late: be slower to blame others."""
        effects = self._thaw(now)
        self._roster.strain.lag(lag_s, now)
        return effects

    # -- what is due -----------------------------------------------------------------------------------------

    @property
    def _started(self) -> bool:
        return self._beat_at < inf

    def _beat(self, now: float) -> list[Effect]:
        self._beat_at = now + self._heartbeat_s * self._entropy.uniform(1 - JITTER, 1 + JITTER)
        self._roster.forget(now)
        for address, retry in self._seeds.items():
            if retry.at == inf and not self._roster.lives_at(address, now):
                retry.now(now)
        return [self._publish(now), *self._probing.ping(self._hood.near, now)]

    def _knock(self, address: str, retry: Retry, now: float) -> list[Effect]:
        if self._roster.lives_at(address, now):
            retry.rest()
            return []
        retry.asked(now, self._entropy)
        return [Contact(address, self._question())]

    def _look_after(self, peer: Peer, now: float) -> list[Effect]:
        timeout_s = self._roster.patience_s(peer, now)
        if not peer.is_suspect(now, timeout_s):
            peer.check_at = peer.since + timeout_s / 2
            return []
        node = peer.record.node
        if now >= peer.since + timeout_s:
            self._roster.lose(peer, version(peer.record))
            self._rumours.lost(Loss(node, *peer.lost_at))
            return [Note("warning", f"member `{node}` is unreachable: silent for {now - peer.since:.1f} s")]
        pause_s = self._timeout_s / PROBES
        peer.check_at = min(now + pause_s, peer.since + timeout_s)
        # The suspect is told first, and by the surer way: it can refute at once.
        accusation = Heartbeat(self.identity.shown, (Suspicion(node, peer.incarnation),))
        effects = [*self._probing.ping([node], now), Send(node, accusation)]
        if now >= self._helped_at + pause_s / 2:
            self._helped_at = now
            helpers = self._some(HELPERS_MAX, now, but=node)
            effects += self._probing.ask(helpers, node, now)
        return effects

    def _exchange(self, now: float) -> list[Effect]:
        """Everything we know, with one neighbour; and a knock at one who was given up."""
        members = len(self._roster.peers) + 1
        scale = 1.0 + log2(members / SCALE_FROM) if members > SCALE_FROM else 1.0
        self._sync_at = now + scale * self._entropy.uniform(SYNC_MIN_S, SYNC_MAX_S)
        effects: list[Effect] = [
            Send(node, part) for node in self._some(1, now) for part in self._everything(reply=True)
        ]
        lost = [node for node, peer in sorted(self._roster.peers.items()) if peer.lost]
        if self._hood.sparse and lost:
            node = self._entropy.choice(lost)
            self._hood.welcome(node)
            effects += [*self._hood.rewire(now), *self._probing.ping([node], now)]
        return effects

    def _say(self, now: float) -> list[Effect]:
        """What the event leaves to be said: our own news, and questions to those whose facts we miss."""
        if not self._started:
            return []
        effects = self._hood.rewire(now)
        if self.identity.urgent:
            effects.append(self._publish(now))
        effects += self._rumours.spread(now, self._entropy)
        for peer in self._hood.watched():
            node = peer.record.node
            if peer.gap and now >= peer.pulled_at + self._heartbeat_s:
                peer.gap = False
                peer.pull.now(now)
            if now >= peer.pull.at:
                peer.pull.asked(now, self._entropy)
                peer.pulled_at = now
                effects.append(Send(node, self._question()))
        return effects

    def _publish(self, now: float) -> Publish:
        record = self.identity.next_version(self._roster.strain.score(now))
        return Publish(Heartbeat(record, self._roster.suspicions(now)))

    # -- what was heard --------------------------------------------------------------------------------------

    def _spoke(self, sender: str, incarnation: int, now: float) -> list[Effect]:
        peer = self._roster.peers.get(sender)
        was_lost = peer is not None and peer.lost
        self._probing.spoke(sender)
        effects = self._hood.only_linked(self._roster.alive(sender, incarnation, now))
        if peer is not None and was_lost and not peer.lost:
            self._rumours.lives(peer.record)
        return effects

    def _merge(self, records: tuple[Record, ...], now: float, *, heartbeat: bool) -> list[Effect]:
        effects: list[Effect] = []
        for record in records[:RECORDS_MAX]:
            if flaw(record):
                self.counters["malformed"] += 1
            elif self.identity.is_foreign(record):
                effects += self.identity.met_foreign(record)
                self._roster.expel(record.node, record.store)
            elif record.node == self.node:
                effects += self.identity.claimed(record)
            elif record in self.refusals:
                self.counters["removed"] += 1
            else:
                effects += self._rumours.learn(record, now, heartbeat=heartbeat)
        self.counters["records_left"] += max(len(records) - RECORDS_MAX, 0)
        return effects

    def _answer(self, sender: str, message: Gossip, now: float) -> list[Effect]:
        peer = self._roster.peers.get(sender)
        if isinstance(message, News):
            self._rumours.contradict(message)
            return self._mourn(message.losses, now)
        if isinstance(message, Probed):
            self._probing.probed(message, now)
            return []
        if peer is None or sender not in self._hood.linked:
            return []  # To a stranger we have no way yet.
        match message:
            case Heartbeat(_, suspicions):
                return self._defend(sender, suspicions, now)
            case Sync(_, True):
                told = self._mourn(message.losses, now)
                return [*told, *(Send(sender, part) for part in self._everything(reply=False))]
            case Probe():
                return self._probing.probe(sender, message, now)
            case Sync():
                peer.pull.rest()
                return self._mourn(message.losses, now)
            case Ping(nonce):
                return [Send(sender, Pong(nonce))]
            case Pong():
                return self._probing.pong(peer, message, now)
        return []

    def _mourn(self, losses: tuple[Loss, ...], now: float) -> list[Effect]:
        own = self.identity.shown
        if any(loss.node == self.node and (loss.incarnation, loss.seq) >= version(own) for loss in losses):
            own = self.identity.next_version(self._roster.strain.score(now))
        return self._rumours.bereaved(losses, own)

    def _defend(self, sender: str, suspicions: tuple[Suspicion, ...], now: float) -> list[Effect]:
        for suspicion in suspicions:
            accused = self._roster.peers.get(suspicion.node)
            if accused is not None and len(accused.accusers) < CONFIRMATIONS_MAX:
                accused.accusers.add(sender)
        claims = [suspicion.incarnation for suspicion in suspicions if suspicion.node == self.node]
        if not claims:
            return []
        effects: list[Effect] = []
        if max(claims) > self.incarnation or now >= self._refuted_at + self._heartbeat_s / 2:
            self._refuted_at = now
            self._roster.strain.missed(now)  # Whoever has to defend itself may be the slow one.
            effects += self.identity.accused(max(claims))
            effects += self._say(now)
        # By the other way as well: our publications may be what does not reach it.
        return [*effects, Send(sender, Sync((self.identity.shown,), reply=False))]

    # -- small words -----------------------------------------------------------------------------------------

    def _thaw(self, now: float) -> list[Effect]:
        """After a long standstill of our own loop nobody else is to blame: all silence counts from now."""
        late_s = now - self._beat_at
        if late_s <= self._timeout_s / 2:
            return []
        self._roster.thaw(self._beat_at, now)
        self._beat_at = now
        return [Note("warning", f"this node stood still for {late_s:.1f} s: silence is counted anew")]

    def _seen(self, now: float) -> float:
        """The moment up to which we have listened: a view taken before the thaw blames nobody."""
        return self._beat_at if now - self._beat_at > self._timeout_s / 2 else now

    def _question(self) -> Sync:
        return Sync((self.identity.shown,), reply=True)

    def _everything(self, *, reply: bool) -> list[Sync]:
        """All records, RECORDS_MAX to a message; the first one asks for the same in return."""
        known = [self.identity.shown, *(peer.record for _, peer in sorted(self._roster.peers.items()))]
        parts = [tuple(known[first : first + RECORDS_MAX]) for first in range(0, len(known), RECORDS_MAX)]
        losses = self._roster.losses() if self._hood.sparse else ()
        return [Sync(part, reply and at == 0, losses if at == 0 else ()) for at, part in enumerate(parts)]

    def _some(self, count: int, now: float, but: str = "") -> list[str]:
        left = [node for node in self._hood.near if node != but and self.reachable(node, now)]
        chosen: list[str] = []
        while left and len(chosen) < count:
            chosen.append(self._entropy.choice(left))
            left.remove(chosen[-1])
        return chosen
