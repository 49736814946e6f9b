"""One node: membership, consensus, lease and workloads joined behind one door. Events in, effects out."""

from __future__ import annotations

from mltb_transport.messages import (
    Answer,
    Append,
    AppendAnswer,
    Election,
    Found,
    Founded,
    Message,
    Propose,
    Renew,
    Renewed,
    TimeoutNow,
)
from mltb_transport.pieces import Piece, PieceAnswer
from mltb_transport.records import TWO_OWNERS, Record
from mltb_transport.store import Batch, Forward, Forwarded
from mltb_transport.voters import Removed
from mltbd.core import describe
from mltbd.core.archive import Archive
from mltbd.core.belonging import Belonging
from mltbd.core.consensus import Consensus
from mltbd.core.effects import Effect
from mltbd.core.errands import Errands
from mltbd.core.events import (
    Ask,
    Checked,
    Event,
    GuardSays,
    HookEnded,
    Listen,
    Lost,
    ReadState,
    Received,
    Recovered,
    Saved,
    StopRequested,
    Strain,
    Submit,
    Tick,
    Unreadable,
)
from mltbd.core.farewell import Farewell
from mltbd.core.founding import FoundingDesk, FoundingWatch
from mltbd.core.freshness import Freshness
from mltbd.core.health import Health
from mltbd.core.level_desk import LevelDesk
from mltbd.core.level_rules import check_disk
from mltbd.core.log import InvariantViolation
from mltbd.core.membership import Membership
from mltbd.core.node_config import NodeConfig
from mltbd.core.outbox import Outbox
from mltbd.core.owner import Owner
from mltbd.core.placer import Placer
from mltbd.core.ports import Entropy
from mltbd.core.presence import Presence
from mltbd.core.probing import PROBES
from mltbd.core.rumours import TELLING
from mltbd.core.senders import Senders
from mltbd.core.shortcut import only_clients
from mltbd.core.store_desk import StoreDesk
from mltbd.core.voter_desk import VOTER_VERBS, VoterDesk
from mltbd.state.machine import State

STEPS_MAX = 16


class Node:
    """`handle` is the only way to change it, and leaves it valid. `next_deadline` says when it wants a Tick."""

    def __init__(self, config: NodeConfig, recovered: Recovered, entropy: Entropy, now: float) -> None:
        """Raises NotSpoken when the disk holds what only a newer build can read."""
        check_disk(config.speaks, recovered.snapshot, recovered.entries)
        self.config = config
        self.me = config.node
        self.first_number = recovered.first_number
        self.out = Outbox()
        self.state = State()
        self.counters: dict[str, int] = {}
        names = () if config.role == "witness" else config.workloads
        self.owner = Owner(
            self.me, names, config.timing, config.patience, self.out, recovered.first_number, recovered.last_index,
            Health(config.checks), enforced=config.lease_enforced,
        )  # fmt: skip
        self.consensus = Consensus(
            self.me, recovered, config.timing, entropy, self.out, self,
            priority=config.priority, quorum_size=config.quorum_size, now=now,
        )  # fmt: skip
        own = Record(
            self.me, recovered.incarnation, 0, recovered.store, self.consensus.log.cluster, config.address, config.port,
            config.role, config.priority, "JOINING", "HEALTHY", 0, config.version, config.founder.designated,
            recovered.term, "", 0, (), (), risks=() if config.lease_enforced else (TWO_OWNERS,),
            oldest=config.speaks.oldest, newest=config.speaks.newest,
        )  # fmt: skip
        self.membership = Membership(own, config.seeds, config.heartbeat_s, config.node_timeout_s, entropy)
        self.identity = self.membership.identity
        self._founding = FoundingDesk(
            FoundingWatch(own, config.founder), self.consensus, self.out, config.cluster_id, config.cluster_name
        )
        self.placer = Placer(
            config.policy, self.consensus, self.state, self.membership, self.owner, self.out, now,
        )  # fmt: skip
        self._archive = Archive(self.state, self.consensus, self.out, config.compaction, recovered.snapshot)
        self.desk = StoreDesk(recovered, self.consensus, self.state, self.out)
        self.belonging = Belonging(self.state, self.consensus, self.membership, self.out)
        self.voter_desk = VoterDesk(self.consensus, self.state, self.membership, self.out)
        self.levels = LevelDesk(config, self.consensus, self.state, self.membership, self.out)
        self._now = now
        self.farewell = Farewell(config.leave_s, self.owner, self.consensus, self.placer, self.out)
        self._history = recovered.last_index  # What lies before happened to an earlier incarnation.
        self._senders, self.freshness = Senders(), Freshness(now)
        self._errands = Errands(self.consensus, self.owner, self.placer, self.out, entropy)
        self._presence = Presence(self.consensus, self.owner, self.membership, self.state)
        self._leader_seen = ("", 0)
        self._stood: tuple[object, ...] = ()  # who we were when we last looked at everything; empty: look again
        self._due = now  # when everything but the desk is to be looked at

    # -- what consensus asks of its company ------------------------------------------------------------------

    def rivals(self, now: float) -> dict[str, int]:
        """Live members other than us that could lead, by priority; the lost leader is not among them."""
        return {
            member.record.node: member.record.priority
            for member in self.membership.members(now)
            if member.record.node not in (self.me, self._leader_seen[0])
            and member.state not in ("UNREACHABLE", "LEAVING")
            and not member.suspect
        }

    def learners(self) -> tuple[str, ...]:
        cluster = self.cluster
        members = self.membership.members(self._now)
        return tuple(m.record.node for m in members if m.record.cluster in ("", cluster) and m.state != "UNREACHABLE")

    def ready(self) -> tuple[str, ...] | None:
        return None if self.owner.is_untold else self.owner.ready(self._now)

    def listens(self) -> bool:
        return self.desk.listens

    # -- views -----------------------------------------------------------------------------------------------

    @property
    def cluster(self) -> str:
        return self.identity.own.cluster

    @property
    def incarnation(self) -> int:
        """What frames must carry; it may jump ahead when somebody claims a higher one for us."""
        return self.identity.own.incarnation

    def waiting_for(self) -> str:
        """Why there is no cluster yet, in words; empty when there is one."""
        return "" if self.cluster else self._founding.watch.why_not(self._present(self._now))

    def next_deadline(self) -> float:
        if self.levels.halted:
            return float("inf")
        return min(self._due, self.consensus.next_deadline(), self.desk.next_deadline())

    # -- the door --------------------------------------------------------------------------------------------

    def start(self, now: float, wall: int) -> list[Effect]:
        """The first effects: greet the seeds."""
        self._put_all(self.membership.start(now))
        self._founding.start(now)
        return self._settle(now, wall)

    def handle(self, event: Event, now: float, wall: int) -> list[Effect]:
        """The only way to change a Node. `now` in seconds on its monotonic clock, `wall` in milliseconds for people."""
        if self.levels.halted:
            return []
        still_s, self._now, saves = now - self._now, now, self.out.save_number
        if still_s > self.config.timing.lease_s / 2 and now > self.consensus.next_deadline():  # Else it only rested.
            self.out.note("warning", f"this node stood still for {still_s:.2f} s")
            self.consensus.thaw(now)
        match event:
            case Received():
                self._received(event, now, wall)
            case Tick():
                self._tick(now, wall)
            case Saved(save):
                self.consensus.saved(save, now, wall)
            case GuardSays():
                self.owner.guard_says(event, now, wall)
            case HookEnded():
                self.owner.hook_ended(event)
            case Checked():
                self.owner.checked(event, now, wall)
            case Lost(node):
                self.consensus.doubt(node, now)
            case Unreadable(sender, version):
                self.levels.unreadable(sender, version)
            case Strain(lag_s):
                self._put_all(self.membership.strain(lag_s, now))
            case StopRequested():
                self.farewell.begin(now)
            case Ask(verb=verb) if verb in VOTER_VERBS:
                self.voter_desk.asked(event, now, wall)
            case Ask():
                self.placer.asked(event, now, wall)
            case Submit(commands):
                self.desk.submit(commands, now)
            case ReadState(request):
                self.desk.read(request, now)
            case Listen(wanted):
                self.desk.listening = wanted
        calm = only_clients(event) and now < self._due and self._stood == self._standing()
        if self.levels.halted or (calm and self._serve(now, wall, fresh=self.out.save_number > saves)):
            return self.out.take()
        return self._settle(now, wall)

    def released(self, save: int) -> list[Effect]:
        """What only waited for this save, and so need not wait for what else `handle` does when it hears of it."""
        return [] if self.levels.halted else self.out.released(save)

    def check(self) -> None:
        """Raises InvariantViolation when this node contradicts itself."""
        self.consensus.check()
        if self.state.applied > min(self.consensus.commit, self.consensus.durable):
            raise InvariantViolation(f"applied {self.state.applied} before it was committed and durable")

    # -- events ----------------------------------------------------------------------------------------------

    def _tick(self, now: float, wall: int) -> None:
        if now >= self.membership.next_deadline():
            self._put_all(self._presence.show(now, always=True))
            self._put_all(self.membership.tick(now))
        if now >= self.consensus.next_deadline():
            self.consensus.tick(now, wall)
            self.placer.look_again(now)
        if now >= self._founding.next_deadline():
            self._founding.tick(self._present(now), now, wall)

    def _received(self, event: Received, now: float, wall: int) -> None:
        message, sender = event.message, event.sender
        self.levels.heard(sender)
        if isinstance(message, TELLING):
            self._put_all(self.membership.heard(sender, event.incarnation, message, now))
            return
        why_not = self._senders.why_not(event, self.me, self.cluster, self.consensus.term)
        if why_not:
            self._count(why_not)
            if why_not == "stale":
                self._put_all(self.membership.alive(sender, event.incarnation, now))
            return
        if isinstance(message, PROBES):
            self._put_all(self.membership.heard(sender, event.incarnation, message, now))
            return
        self._put_all(self.membership.alive(sender, event.incarnation, now))
        self._consensus_message(sender, message, now, wall)

    def _consensus_message(self, sender: str, message: Message, now: float, wall: int) -> None:
        match message:
            case Append():
                self.belonging.replicated_to()
                readable = self.levels.readable(sender, message)
                if readable is not None:
                    self.consensus.append(sender, readable, now)
                    self.freshness.heard(readable, self.consensus, now, self.state.applied)
            case AppendAnswer():
                self.consensus.append_answered(sender, message, now)
            case Renew():
                self.placer.renew(sender, message, now, wall)
            case Renewed():
                self.owner.renewed(message, wall)
            case Forward() | Forwarded():
                if not self._errands.told(message):
                    self.desk.received(sender, message)
            case Propose(command):
                self.placer.suggested(sender, command, now, wall)
            case Election():
                self.consensus.asked(sender, message, now, wall)
            case Answer():
                self.consensus.answered(sender, message, now, wall)
            case TimeoutNow():
                self.consensus.timeout_now(sender, message, now, wall)
            case Found(entry):
                self._founding.asked_to_join(sender, entry)
            case Removed():
                self.belonging.told(message, now)
            case Founded(cluster):
                self._founding.joined(sender, cluster)
            case Piece():
                self._archive.received(sender, message)
            case PieceAnswer():
                self.consensus.piece_answered(sender, message, now)
            case _:
                self._count("unexpected")

    def _present(self, now: float) -> list[Record]:
        return [m.record for m in self.membership.members(now) if m.state not in ("UNREACHABLE", "LEAVING")]

    def _join(self, now: float) -> None:
        """Once the log has begun we belong to one cluster, for ever."""
        if not self.cluster and self.consensus.log.last_index:
            self._put_all(self.membership.update_own(now, cluster=self.consensus.log.cluster))

    # -- after every event -----------------------------------------------------------------------------------

    def _standing(self) -> tuple[object, ...]:
        consensus = self.consensus
        return consensus.role, consensus.leader, consensus.term, self.desk.commands.rests(self._now)

    def _serve(self, now: float, wall: int, *, fresh: bool) -> bool:
        """Follow up on an event that was about clients. False when it turns out to matter to others as well."""
        # Where it brought `fresh` entries a leader waits until they are saved; what was committed before has time.
        applies_later = fresh and self.consensus.reign is None and not self.desk.listens
        if not applies_later and self._apply(now):
            return False
        self.desk.work(now, wall)  # Of what it does nothing follows before the next event.
        self.check()
        return not self.consensus.confirmations and not self.owner.leaving

    def _settle(self, now: float, wall: int) -> list[Effect]:
        """Follow up on what the event changed, until nothing more follows from it."""
        self._join(now)
        self._watch_leader(now)
        self._put_all(self.membership.need(self._partners(), now))
        if self.desk.commands.rests(now):
            self.placer.look_again(now)  # For the moment at which leadership can change hands.
        for _ in range(STEPS_MAX):
            self._apply(now)
            placements = {} if self.belonging.removed else self.state.placements.by_workload
            self.owner.drained = self.me in self.state.controls.drained
            self.owner.tick(placements, self.state.applied, now, wall)
            moved = self._errands.carry(now, wall)
            moved |= self.placer.confirmed(wall)  # Our own lease may be among them: the owner must look again.
            moved |= self.placer.work(now, wall)
            moved |= self.desk.work(now, wall)
            moved |= self.voter_desk.work(now, wall)
            moved |= self.levels.work(now, wall)
            if not moved:
                break
        self._archive.compact()
        self.farewell.go_on(now)
        self._put_all(self._presence.show(now))
        self.check()
        self._stood = self._standing()
        self._due = min(
            self.membership.next_deadline(),
            self.owner.next_deadline(),
            self.placer.next_deadline(),
            self._founding.next_deadline(),
            self.farewell.next_deadline(now),
            self._errands.next_deadline(),
        )
        return self.out.take()

    def _partners(self) -> frozenset[str]:
        """Whom the log needs connected, whoever our neighbours are. Our leader: an empty log names no voters."""
        reign = self.consensus.reign
        return frozenset((*self.consensus.voters, self.consensus.leader, *(reign.peers if reign else ())))

    def _apply(self, now: float) -> bool:
        """Whether anything but clients' commands took effect."""
        # Only what is on our own disk: an owner must not start under a token that it could forget.
        end = min(self.consensus.commit, self.consensus.durable)
        began_at = self.state.applied
        follows = self._archive.restore()
        placed = self.state.applied != began_at
        while follows and self.state.applied < end:
            entry = self.consensus.log.entry(self.state.applied + 1)
            if entry.index > self._history:
                self.placer.expects(entry.command, now)
            self.state.apply(entry)
            self.desk.applied()
            if not isinstance(entry.command, Batch):  # Clients' commands place nothing.
                placed = True
                self.placer.applied(entry, now, fresh=entry.index > self._history)
                self.voter_desk.applied(entry)
        self.freshness.leads(self.consensus, self.state.applied)
        if self.state.applied != began_at:
            self.levels.applied()
            self.belonging.look(now)
        return placed

    def _watch_leader(self, now: float) -> None:
        leader = self.consensus.leader
        if not leader:
            self._errands.hurry(now)
        elif (leader, self.consensus.term) != self._leader_seen:
            self._leader_seen = (leader, self.consensus.term)
            self.placer.succession.led_at.append(now)
            self.owner.ask_again(now)
            if leader != self.me:
                self.out.note("info", describe.follows(leader, self.consensus.term))

    def _count(self, what: str) -> None:
        self.counters[what] = self.counters.get(what, 0) + 1

    def _put_all(self, effects: list[Effect]) -> None:
        if effects:
            self._stood = ()
        for effect in effects:
            self.out.put(effect)
