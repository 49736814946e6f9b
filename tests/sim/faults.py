"""What goes wrong: a schedule of faults drawn from the seed, each with an end, so that all can heal."""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.sim.cluster import WORKLOAD, Cluster
from tests.sim.disk import FAST_S
from tests.sim.faults_levels import LevelFaults
from tests.sim.faults_members import MemberFaults
from tests.sim.machine import Machine
from tests.sim.mixes import Mix

LOSS_AGAIN_S = 0.1
HANGS_SHARE = 0.3
"""Of the disks that are slow: these write nothing at all meanwhile, often for longer than an election waits."""


class Faults(MemberFaults, LevelFaults):
    """Lets a cluster suffer by a mix."""

    def __init__(self, cluster: Cluster, mix: Mix) -> None:
        self._cluster = cluster
        self._mix = mix
        self._dice = cluster.dice
        self._open: list[tuple[str, str]] = []
        self._heedless = mix.heedless
        self._over = False
        self._names = list(mix.weights)
        self._shares = list(mix.weights.values())

    def begin(self) -> None:
        self._cluster.at(self._mix.from_s + self._gap_s(), self._next)
        if self._mix.loss:
            self._lose_words()

    def _lose_words(self) -> None:
        """Also where another fault has just ended by making the network well."""
        network = self._cluster.network
        network.loss, network.repeat = self._mix.loss, self._mix.loss / 2
        self._later(LOSS_AGAIN_S, self._lose_words)

    def cease(self) -> None:
        """No more. What was broken stays so."""
        self._over = True

    def end(self) -> None:
        """No more, and all is healed."""
        self.cease()
        for machine in self._cluster.machines.values():
            machine.disk.takes_s = FAST_S
        self._cluster.heal()
        self._cluster.lift()

    def _gap_s(self) -> float:
        low, high = self._mix.pause_s
        # Short gaps are where faults meet.
        return self._dice.uniform(low, self._dice.uniform(low, high))

    def _next(self) -> None:
        if self._over:
            return
        name = self._dice.choices(self._names, self._shares)[0]
        fault: Callable[[], None] = getattr(self, f"_{name}")
        fault()
        self._cluster.at(self._cluster.now + self._gap_s(), self._next)

    # -- whom and how long -----------------------------------------------------------------------------------

    def _victim(self) -> Machine:
        cluster = self._cluster
        if self._dice.random() < self._mix.aim:
            marked = ([cluster.leader] if cluster.leader else []) + cluster.owners[:1]
            if marked:
                return self._dice.choice(marked)
        return self._dice.choice(list(cluster.machines.values()))

    def _back_s(self) -> float:
        low, high = self._mix.back_s
        return self._dice.uniform(low, self._dice.uniform(low, high))

    def _later(self, seconds: float, call: Callable[..., None], *args: object) -> None:
        def unless_over() -> None:
            if not self._over:
                call(*args)

        self._cluster.at(self._cluster.now + seconds, unless_over)

    # -- machines --------------------------------------------------------------------------------------------

    def _crash_daemon(self) -> None:
        victim = self._victim()
        self._cluster.fault(f"daemon of {victim.name} killed")
        victim.crash_daemon()

    def _crash_machine(self) -> None:
        victim, back_s = self._victim(), self._back_s()
        self._cluster.fault(f"machine {victim.name} off for {back_s:.2f} s")
        victim.crash_machine()
        self._later(back_s, self._cluster.start_again, victim)

    def _crash_all(self) -> None:
        self._cluster.fault("all machines lose power")
        for machine in self._cluster.machines.values():
            machine.crash_machine()
            self._later(self._back_s(), self._cluster.start_again, machine)

    def _pause(self) -> None:
        victim = self._victim()
        seconds = self._dice.choice((self._dice.uniform(0.1, 1.0), self._dice.uniform(0.1, 5.0)))
        self._cluster.fault(f"daemon of {victim.name} stopped for {seconds:.2f} s")
        victim.pause()
        self._later(seconds, victim.resume)

    def _slow_disk(self) -> None:
        victim, seconds = self._victim(), self._back_s()
        if random.Random(seconds).random() < HANGS_SHARE:  # Its own dice leave every other choice alone.
            self._cluster.fault(f"disk of {victim.name} does not answer for {seconds:.2f} s")
            victim.disk.hangs = True
            self._later(seconds, self._answering_disk, victim)
            return
        self._cluster.fault(f"disk of {victim.name} slow for {seconds:.2f} s")
        victim.disk.slow = True
        self._later(seconds, self._fast_disk, victim)

    def _slow_writes(self) -> None:
        """Of one disk from now on, or of all; or one is well again."""
        machines = list(self._cluster.machines.values())
        everywhere = self._dice.random() < 0.1
        for victim in machines if everywhere else [self._dice.choice((self._victim(), self._dice.choice(machines)))]:
            first_s, second_s = (
                self._dice.uniform(0.05, self._mix.slowest_s),
                self._dice.uniform(0.05, self._mix.slowest_s),
            )
            slow = everywhere or self._dice.random() < 0.75
            victim.disk.takes_s = (min(first_s, second_s), max(first_s, second_s)) if slow else FAST_S
            low, high = victim.disk.takes_s
            self._cluster.fault(f"disk of {victim.name} takes {low:.2f} to {high:.2f} s a write")

    @staticmethod
    def _fast_disk(victim: Machine) -> None:
        victim.disk.slow = False

    @staticmethod
    def _answering_disk(victim: Machine) -> None:
        victim.disk.hangs = False

    def _step_wall(self) -> None:
        victim = self._victim()
        step = self._dice.choice((-86_400_000, -5_000, 3_600_000))
        self._cluster.fault(f"wall clock of {victim.name} set by {step} ms")
        victim.clock.step_wall(step)

    def _exit(self) -> None:
        for owner in self._cluster.owners:
            if owner.guard.exits(WORKLOAD, self._dice.choice((0, 1, -9))):
                self._cluster.fault(f"workload on {owner.name} exits")

    def _unstartable(self) -> None:
        victim, seconds = self._victim(), self._back_s()
        self._cluster.fault(f"workload cannot be started on {victim.name} for {seconds:.2f} s")
        victim.guard.fails_until = self._cluster.now + seconds
        victim.guard.exits(WORKLOAD, 1)

    def _stop(self) -> None:
        victim, back_s = self._victim(), self._back_s()
        self._cluster.fault(f"{victim.name} asked to stop, started again {back_s:.2f} s later")
        victim.ask_to_stop()
        self._later(back_s, self._cluster.start_again, victim)

    # -- the network -----------------------------------------------------------------------------------------

    def _tear(self, text: str, pairs: list[tuple[str, str]]) -> None:
        seconds = self._back_s()
        self._cluster.fault(f"{text} for {seconds:.2f} s")
        self._cluster.network.block(pairs)
        self._later(seconds, self._cluster.network.unblock, pairs)

    def _others(self, name: str) -> list[str]:
        return [other for other in self._cluster.machines if other != name]

    def _isolate(self) -> None:
        name = self._victim().name
        self._tear(f"{name} cut off", self._around(name))

    def _split(self) -> None:
        names = list(self._cluster.machines)
        self._dice.shuffle(names)
        at = self._dice.randint(1, max(1, len(names) - 1))
        left, right = names[:at], names[at:]
        pairs = [pair for a in left for b in right for pair in ((a, b), (b, a))]
        self._tear(f"{' '.join(left)} apart from {' '.join(right)}", pairs)

    def _one_way(self) -> None:
        name = self._victim().name
        others = [other for other in self._others(name) if self._dice.random() < 0.7]
        if self._dice.random() < 0.5:
            self._tear(f"{name} hears nothing of {' '.join(others)}", [(other, name) for other in others])
        else:
            self._tear(f"{' '.join(others)} hear nothing of {name}", [(name, other) for other in others])

    def _bridge(self) -> None:
        names = list(self._cluster.machines)
        self._dice.shuffle(names)
        middle, rest = names[0], names[1:]
        at = len(rest) // 2
        pairs = [pair for a in rest[:at] for b in rest[at:] for pair in ((a, b), (b, a))]
        self._tear(f"{' '.join(rest[:at])} and {' '.join(rest[at:])} joined by {middle} only", pairs)

    def _star(self) -> None:
        hub = self._dice.choice(list(self._cluster.machines))
        rest = self._others(hub)
        self._tear(f"a star around {hub}", [(a, b) for a in rest for b in rest if a != b])

    def _loss(self) -> None:
        network, seconds = self._cluster.network, self._back_s()
        network.loss, network.repeat = self._dice.uniform(0.05, 0.5), self._dice.uniform(0, 0.3)
        self._cluster.fault(f"loss {network.loss:.2f}, repeats {network.repeat:.2f} for {seconds:.2f} s")
        self._later(seconds, self._no_loss)

    def _no_loss(self) -> None:
        self._cluster.network.loss = self._cluster.network.repeat = 0.0

    def _lag(self) -> None:
        network, seconds = self._cluster.network, self._back_s()
        network.lag_s = self._dice.choice((0.1, 0.5, 2.0))
        self._cluster.fault(f"lag up to {network.lag_s:.1f} s for {seconds:.2f} s")
        self._later(seconds, self._no_lag)

    def _no_lag(self) -> None:
        self._cluster.network.lag_s = 0.0

    def _broken_line(self) -> None:
        """Connections break for no reason at all."""
        victim = self._victim()
        self._cluster.fault(f"the connections to {victim.name} break, and are made anew")
        for other in self._others(victim.name):
            self._later(self._dice.uniform(0, 0.02), self._cluster.machines[other].hangs_up, victim.name)

    # -- several at once -------------------------------------------------------------------------------------

    def _dethrone(self, patience: int = 1000, rival: Machine | None = None) -> None:
        """Whoever wins the next election is cut off while it tells the others; some may have heard it."""
        leader = self._cluster.leader
        if patience == 1000:
            rival = leader
            self._cluster.fault("the next leader will be cut off as it begins")
        if patience == 0:
            return
        if leader is None or leader is rival:
            self._later(0.002, self._dethrone, patience - 1, leader)
            return
        pairs = [pair for pair in self._around(leader.name) if self._dice.random() < 0.9]
        soon_s = self._dice.choice((0.01, 0.1)) * self._dice.random()
        self._later(soon_s, self._tear, f"{leader.name} cut off as it begins", pairs)

    def _recount(self) -> None:
        """The leader is lost, the others ask for votes through a slow network, and voters are restarted meanwhile."""
        network, leader = self._cluster.network, self._cluster.leader
        if leader is None:
            return
        self._cluster.fault(f"{leader.name} cut off, votes are late, voters restart")
        self._tear(f"{leader.name} cut off", self._around(leader.name))
        network.lag_s = 0.3 * self._cluster.shape.lease_s
        self._later(1.5 * self._cluster.shape.lease_s, self._no_lag)
        for other in self._others(leader.name):
            for _ in range(3):
                self._later(
                    self._cluster.shape.lease_s * self._dice.random(), self._cluster.machines[other].crash_daemon
                )

    def _outsider(self) -> None:
        """One node misses a while; then the one that matters is cut off, and all who know better are restarted."""
        victim = self._victim().name
        others = self._others(victim)
        if len(others) < 2:
            return
        outsider = self._dice.choice(others)
        lease_s = self._cluster.shape.lease_s
        away_s, back_s = lease_s * self._dice.uniform(0.5, 1.5), lease_s * self._dice.uniform(0.5, 1.5)
        self._cluster.fault(f"{outsider} misses {away_s:.2f} s, then {victim} is cut off and the rest restarted")
        gone, lost = self._around(outsider), self._around(victim)
        network = self._cluster.network
        network.block(gone)
        self._later(away_s, network.block, lost)
        for other in others:
            if other != outsider:
                self._later(away_s + self._dice.uniform(0, 0.2), self._cluster.machines[other].crash_daemon)
        self._later(away_s, network.unblock, gone)
        self._later(away_s + back_s, network.unblock, lost)

    def _around(self, name: str) -> list[tuple[str, str]]:
        return [pair for other in self._others(name) for pair in ((name, other), (other, name))]

    def _delay(self, pairs: list[tuple[str, str]], most_s: float, seconds: float) -> None:
        """What takes these links is late and out of order for a while."""
        late = self._cluster.network.late
        late.update(dict.fromkeys(pairs, most_s))

        def in_time() -> None:
            for pair in pairs:
                late.pop(pair, None)

        self._later(seconds, in_time)

    def _resign(self) -> None:
        """An owner gives up, is killed and comes back, while what it says to the leader is late and out of order."""
        leader = self._cluster.leader
        for owner in self._cluster.owners:
            if leader is None or owner is leader:
                continue
            dies_s = self._dice.uniform(0.05, 0.8)
            self._cluster.fault(f"{owner.name} gives up, is heard late, and is killed {dies_s:.2f} s later")
            self._delay([(owner.name, leader.name)], self._cluster.shape.lease_s, dies_s + 1.5)
            owner.guard.fails_until = self._cluster.now + dies_s
            owner.guard.exits(WORKLOAD, 1)
            self._later(dies_s, owner.crash_daemon)

    def _stutter(self) -> None:
        """A daemon is killed twice while answers to its first run are late, and then its own words get lost."""
        victim, lease_s = self._victim(), self._cluster.shape.lease_s
        again_s, back_s = self._dice.uniform(0.5, 1.5), self._back_s()
        self._cluster.fault(f"daemon of {victim.name} killed, hears late, killed again {again_s:.2f} s later")
        others = self._others(victim.name)
        self._delay([(other, victim.name) for other in others], 0.7 * lease_s, again_s + back_s)
        victim.crash_daemon()
        self._later(again_s, victim.crash_daemon)
        mute = [(victim.name, other) for other in others]
        self._later(again_s * self._dice.uniform(0.8, 1.3), self._tear, f"{victim.name} mute", mute)

    # -- people ----------------------------------------------------------------------------------------------

    def _ask(self) -> None:
        cluster = self._cluster
        machine = cluster.leader or self._victim()
        if self._dice.random() < 0.1:
            machine = self._victim()
        verb = self._dice.choice(("switchover", "switchover", "failover", "failback", "cancel_failback"))
        target = self._dice.choice(list(cluster.machines)) if verb in ("switchover", "failover") else ""
        cluster.ask(machine, verb, target)

    def _hold(self) -> None:
        """Somebody pauses the cluster, for a while or until somebody resumes it."""
        cluster = self._cluster
        machine = cluster.leader or self._victim()
        if self._dice.random() < 0.3:
            cluster.ask(machine, "resume")
            return
        seconds = self._dice.choice((0.0, self._dice.uniform(0.5, 6.0)))
        cluster.ask(machine, "pause", seconds=seconds)
        self._later(self._dice.uniform(1.0, 8.0), self._release, "resume", "")

    def _drain(self) -> None:
        """Somebody empties a node, and fills it again later."""
        cluster = self._cluster
        machine, node = cluster.leader or self._victim(), self._victim().name
        cluster.ask(machine, "drain", node, force=self._dice.random() < 0.3)
        self._later(self._dice.uniform(1.0, 8.0), self._release, "undrain", node)

    def _release(self, verb: str, node: str) -> None:
        self._cluster.ask(self._cluster.leader or self._victim(), verb, node)
