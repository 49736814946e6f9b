"""The leader's work on the voters: keeps their number odd and their disks real, and serves the operator's requests."""

from __future__ import annotations

from typing import Any

from mltb_transport.messages import Entry
from mltb_transport.voters import ChangeVoters, Removed
from mltbd.core import describe
from mltbd.core.anteroom import Anteroom
from mltbd.core.consensus import Consensus
from mltbd.core.effects import Reply
from mltbd.core.events import Ask
from mltbd.core.leadership import Leadership
from mltbd.core.level_rules import Speaks
from mltbd.core.membership import Membership
from mltbd.core.outbox import Outbox
from mltbd.core.voter_rules import (
    VOTERS_MAX,
    Follower,
    Sum,
    as_voters,
    due,
    sum_of,
    with_voter,
    without_voter,
)
from mltbd.state.machine import State

VOTER_VERBS = ("remove_node", "promote_node", "admit_node")
ASKS_MAX = 16


class Refusal(Exception):
    """Why a request about the voters is not granted; `hint` is what to do."""

    code = "refused"

    def __init__(self, message: str, hint: str = "mltbctl nodes") -> None:
        super().__init__(message)
        self.hint = hint


class NoNode(Refusal):
    """It names nobody."""

    code = "usage"


class VoterDesk:
    """Idle on every node but the leader. At most one change is under way at any time."""

    def __init__(self, consensus: Consensus, state: State, membership: Membership, out: Outbox) -> None:
        self._me = consensus.me
        self._consensus = consensus
        self._state = state
        self._membership = membership
        self._out = out
        self._pause_s = consensus.timing.heartbeat_s
        self._look_at = float("-inf")
        self._reign: Leadership | None = None
        self._anteroom = Anteroom(consensus, out)
        self._asks: dict[int, tuple[Ask, dict[str, Any]]] = {}  # index of the change -> who waits for it

    @property
    def current(self) -> bool:
        """Whether we can judge now."""
        return self._consensus.current(self._state.applied)

    # -- what is due -----------------------------------------------------------------------------------------

    def work(self, now: float, wall: int) -> bool:
        """Make the change that is due by itself, if any. Looked at as often as the leader speaks."""
        self._notice_reign()
        self._drop_gone(now)
        served = self._anteroom.serve(lambda: self.current, lambda ask: self._answer(ask, now, wall), now)
        if now < self._look_at or not self.current or not self._settled:
            return served
        self._look_at = now + self._pause_s
        followers = self.followers(now)
        command = due(self._consensus.voters, followers, self._answering(followers), self._consensus.quorum_size)
        proposed = command is not None and self._propose(command, now, wall) is not None
        return served or proposed

    @property
    def _settled(self) -> bool:
        return self._consensus.log.voters_index <= self._consensus.commit

    def _propose(self, command: ChangeVoters, now: float, wall: int) -> int | None:
        index = self._consensus.propose(command, now, wall)
        if index is not None:
            names = [voter.node for voter in command.voters]
            self._out.note("info", describe.voters_change(command.cause, command.node, names))
        return index

    def applied(self, entry: Entry) -> None:
        """A change of the voters is committed: tell who asked, and who is out."""
        command = entry.command
        if not isinstance(command, ChangeVoters):
            return
        ours = self._consensus.reign is not None and entry.term == self._consensus.term
        if ours and command.cause == "removed" and command.node != self._me:
            self._out.send(command.node, Removed(self._state.cluster, command.node, command.store, entry.index))
        waiting = self._asks.pop(entry.index, None)
        if waiting is not None:
            self._out.put(Reply(waiting[0].request, result=waiting[1]))

    def _drop_gone(self, now: float) -> None:
        """Whoever was removed; and who is no voter, is silent, and was given up and forgotten by gossip."""
        reign, removals = self._consensus.reign, self._state.removals
        if reign is None:
            return
        for node, peer in list(reign.peers.items()):
            silent = now - max(peer.acked_at, reign.won_at) > self._consensus.silence_s
            forgotten = silent and node not in reign.voters and self._membership.record(node) is None
            if forgotten or removals.has(node, peer.store):
                del reign.peers[node]

    def _notice_reign(self) -> None:
        if self._reign is self._consensus.reign:
            return
        self._reign = self._consensus.reign
        self._look_at = float("-inf")
        self._anteroom.dismiss()
        for ask, _ in self._asks.values():
            why = "leadership was lost: the request may or may not have taken effect"
            self._out.put(Reply(ask.request, "unknown_outcome", why, "mltbctl nodes"))
        self._asks.clear()

    # -- facts -----------------------------------------------------------------------------------------------

    def followers(self, now: float) -> tuple[Follower, ...]:
        """Everybody we replicate to, by id."""
        reign = self._consensus.reign
        if reign is None:
            return ()
        found = []
        for node, peer in sorted(reign.peers.items()):
            record = self._membership.record(node)
            found.append(
                Follower(
                    node=node,
                    store=peer.store,
                    role=record.role if record is not None else "unknown",
                    priority=self._membership.priority(node),
                    behind=max(0, self._consensus.commit - peer.match_index),
                    knows_voters=peer.match_index >= self._consensus.log.voters_index,
                    # Gossip may know first that its disk is another one: what it acknowledged is gone.
                    answers=now - peer.acked_at <= self._consensus.silence_s
                    and (record is None or record.store == peer.store),
                    answering_s=now - max(peer.since, reign.won_at),
                    leaving=self._membership.is_leaving(node),
                    speaks_level=peer.speaks is None or Speaks(*peer.speaks).has(self._state.levels.level),
                )
            )
        return tuple(found)

    def _answering(self, followers: tuple[Follower, ...]) -> dict[str, str]:
        return {self._me: self._consensus.store, **{f.node: f.store for f in followers if f.answers}}

    def _sum(self, voters: dict[str, str], followers: tuple[Follower, ...]) -> Sum:
        return sum_of(voters, self._answering(followers), self._consensus.quorum_size)

    # -- operators -------------------------------------------------------------------------------------------

    def asked(self, ask: Ask, now: float, wall: int) -> None:
        """One request; exactly one Reply, at once or when the change is committed."""
        self._notice_reign()
        if self.current:
            self._answer(ask, now, wall)
        else:
            self._anteroom.take(ask, now)

    def _answer(self, ask: Ask, now: float, wall: int) -> None:
        followers = self.followers(now)
        try:
            command = self._judge(ask, followers)
        except Refusal as refusal:
            self._out.put(Reply(ask.request, refusal.code, str(refusal), refusal.hint))
            return
        result = self._result(ask, command, followers)
        if ask.dry_run:
            self._out.put(Reply(ask.request, result=result))
            return
        index = self._propose(command, now, wall) if len(self._asks) < ASKS_MAX else None
        if index is None:
            why = "another change of the voters, or of the leader, is under way"
            self._out.put(Reply(ask.request, "unavailable", why, "try again"))
            return
        self._asks[index] = (ask, result)

    def _judge(self, ask: Ask, followers: tuple[Follower, ...]) -> ChangeVoters:
        node = ask.target
        if node not in self._consensus.voters and self._membership.record(node) is None and not self._removed(node):
            raise NoNode(f"no node `{node}` here")
        match ask.verb:
            case "remove_node":
                return self._removal(ask, followers)
            case "promote_node":
                return self._promotion(ask, followers)
        return self._admission(ask)

    def _removal(self, ask: Ask, followers: tuple[Follower, ...]) -> ChangeVoters:
        node, voters = ask.target, self._consensus.voters
        record = self._membership.record(node)
        store = record.store if record is not None else voters.get(node, "")
        if not store or self._state.removals.has(node, store):
            raise Refusal(f"{node} is removed already", f"mltbctl node admit {node}")
        runs = [name for name, p in sorted(self._state.placements.by_workload.items()) if p.owner == node]
        if runs and node in self._answering(followers):
            names = ", ".join(f"`{name}`" for name in runs)
            raise Refusal(f"{node} runs {names}: empty it first", f"mltbctl node drain {node}")
        if node in voters:
            if len(voters) == 1:
                raise Refusal(f"{node} is the only voter: without it there is no cluster")
            rest = {name: disk for name, disk in voters.items() if name != node}
            after = self._sum(rest, followers)
            if not after.holds:
                raise Refusal(f"without {node} there would be no quorum: {after.words()}", "mltbctl status")
        return ChangeVoters(without_voter(voters, node), "removed", node, store, ask.reason, ask.operator)

    def _promotion(self, ask: Ask, followers: tuple[Follower, ...]) -> ChangeVoters:
        node, voters = ask.target, self._consensus.voters
        follower = next((f for f in followers if f.node == node), None)
        if voters.get(node) == (self._consensus.store if node == self._me else follower.store if follower else ""):
            raise Refusal(f"{node} is a voter already")
        if node in voters:
            raise Refusal(f"the disk of {node} is not the voter's: its old vote has to go first, and does by itself")
        if follower is None:
            raise Refusal(f"{node} does not replicate here")
        if why := follower.unfit():
            raise Refusal(f"{node} cannot become a voter: {why}")
        if len(voters) >= VOTERS_MAX:
            raise Refusal(f"{VOTERS_MAX} voters are the most")
        return ChangeVoters(
            with_voter(voters, node, follower.store), "promoted", node, follower.store, ask.reason, ask.operator
        )

    def _admission(self, ask: Ask) -> ChangeVoters:
        stores = self._removed(ask.target)
        if not stores:
            raise Refusal(f"{ask.target} was not removed")
        return ChangeVoters(
            as_voters(self._consensus.voters), "admitted", ask.target, stores[-1], ask.reason, ask.operator
        )

    def _removed(self, node: str) -> list[str]:
        """Its disks that were removed, the last one last."""
        return [store for name, store in self._state.removals.removed if name == node]

    def _result(self, ask: Ask, command: ChangeVoters, followers: tuple[Follower, ...]) -> dict[str, Any]:
        """The arithmetic before and after, for people to read before they agree."""
        before = self._sum(self._consensus.voters, followers)
        after = self._sum({voter.node: voter.store for voter in command.voters}, followers)
        return {
            "node": ask.target,
            "cause": command.cause,
            "before": _shown(before),
            "after": _shown(after),
            "voters": [voter.node for voter in command.voters],
        }


def _shown(arithmetic: Sum) -> dict[str, int]:
    return {
        "voters": arithmetic.voters,
        "needed": arithmetic.needed,
        "reachable": arithmetic.answering,
        "failure_tolerance": arithmetic.tolerance,
    }
