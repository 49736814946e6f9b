"""Locks and state of real nodes under random faults, from a seed: `python -m tests.e2e.chaos_state SEED COUNT`.

Clients write down what they were told by any node while processes are killed and stopped, leaders drained and, where
this machine can, cables pulled. At the end their record is judged: one order explains every answer, nothing that was
acknowledged is lost, no lock has two holders. `... SEED COUNT loopback` does without the cables.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mltbctl.client import Client, MltbError
from tests.e2e.chaos import Chaos
from tests.e2e.customers import TIMEOUT_S, Customer, take_stock
from tests.e2e.loops import Loop
from tests.e2e.namespaces import Cables, missing
from tests.e2e.stage import PATIENCE_S, Stage
from tests.histories.record import Record, wrongs
from tests.waiting import until

SIZE, CUSTOMERS, IN_A_LOOP = 3, 8, 2
"""The last ones but one are served by an event loop."""
PAUSE_S = 0.08
"""How long a client rests between two calls, at most: the machine has other things to do."""
AGAIN = 3
"""Answers that each client gets before the faults begin, and after they have ended."""


class StateChaos(Chaos):
    """More of what hurts locks and state: the leader is sent away, cables are pulled and cut one way."""

    def __init__(self, stage: Stage, seed: int, cables: Cables | None) -> None:
        super().__init__(stage, seed)
        self._cables = cables

    def _faults(self) -> list[Callable[[str], None]]:
        faults = [self._machine, self._daemon, self._guard, self._frozen, self._frozen_all, self._move, self._lead]
        return faults + [self._machine_that_leads, self._pulled, self._deaf, self._parted] * (self._cables is not None)

    def _lead(self, _: str) -> None:
        """Whoever leads is drained, and so hands the leadership on."""
        leader = self._stage.leader()
        if leader is None:
            return
        self._note(f"drain {leader}")
        self._tell(lambda node: node.drain(leader))
        self._undo.append(lambda: self._undrain(leader))

    def _undrain(self, leader: str) -> None:
        if not self._tell(lambda node: node.undrain(leader)):
            # No majority this moment: it can be said later as well, at the latest when all are back.
            until(lambda: self._tell(lambda node: node.undrain(leader)), PATIENCE_S, self._stage.picture)

    def _machine_that_leads(self, node: str) -> None:
        leader = self._stage.leader()
        self._machine(leader if leader in self._stage.cluster.started else node)

    def _pulled(self, node: str) -> None:
        cables = self._cables
        assert cables is not None
        self._note(f"pulled {node}")
        cables.pull(node)
        self._undo.append(lambda: cables.plug(node))

    def _deaf(self, node: str) -> None:
        """What one other sends to it is lost."""
        self._cut([(self._dice.choice(self._stage.others(node)), node)])

    def _parted(self, node: str) -> None:
        """It and one other do not reach each other; the third reaches both."""
        other = self._dice.choice(self._stage.others(node))
        self._cut([(node, other), (other, node)])

    def _cut(self, pairs: list[tuple[str, str]]) -> None:
        assert self._cables is not None
        self._note("cut " + ", ".join(f"{source} to {target}" for source, target in pairs))
        cut = contextlib.ExitStack()
        cut.enter_context(self._cables.without(*pairs))
        self._undo.append(cut.close)

    def _tell(self, what: Callable[[Client], object]) -> bool:
        """Whether any node took it."""
        for node in self._stage.cluster.nodes:
            with contextlib.suppress(MltbError), Client(str(self._stage.cluster.plans[node].socket), timeout=2) as told:
                what(told)
                return True
        return False


@dataclass(frozen=True, slots=True)
class Day:
    """How a storm went: what was recorded, what was found in the end, what is wrong with it."""

    record: Record
    ledger: set[str]
    wrong: list[str]
    story: list[str]

    def figures(self) -> str:
        """In a line or two, for the one who ran it."""
        seen = self.record.seen
        faults = Counter(what.split()[0] for what in self.story if not what.startswith("thawed"))
        lost = sum(not op.answered for ops in (*self.record.keys.values(), *self.record.locks.values()) for op in ops)
        widest = max(len(ops) for ops in (*self.record.keys.values(), *self.record.locks.values()))
        return (
            f"{sum(seen.values())} calls ({lost} unanswered) on {len(self.record.keys)} keys and "
            f"{len(self.record.locks)} locks, at most {widest} each; {len(self.record.sure)} lines acknowledged\n"
            f"{dict(sorted(seen.items()))}\n{dict(sorted(faults.items()))}"
        )


def storm(directory: Path, seed: int, count: int, wired: bool = True) -> Day:
    """`count` faults on a fresh cluster with customers. AssertionError when a promise is broken."""
    with contextlib.ExitStack() as stack:
        cables = stack.enter_context(Cables(SIZE)) if wired and not missing() else None
        stage = stack.enter_context(Stage(directory, SIZE, cables=cables, CLUSTER_LEASE_DURATION=1.0))
        record = Record()
        chaos = StateChaos(stage, seed, cables)
        try:
            with _customers(stage, record, seed) as crowd:
                _go_on(stage, record, crowd)
                chaos.run(count)
                until(lambda: stage.owner() is not None, PATIENCE_S, lambda: f"it runs again\n{stage.picture()}")
                _go_on(stage, record, crowd)
            ledger = _stock(stage, record)
            stage.check()
            wrong = wrongs(record, ledger)
            assert not wrong, "\n".join(wrong)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}\n{' / '.join(chaos.story)}\n{stage.logs()}") from error
        return Day(record, ledger, wrong, chaos.story)


@contextlib.contextmanager
def _customers(stage: Stage, record: Record, seed: int) -> Iterator[list[Customer]]:
    """Three of them know one node only, the others all, and some share a connection; the last one comes from afar."""
    plans = list(stage.cluster.plans.values())
    secret = tomllib.loads(plans[0].config.read_text())["CLUSTER_SECRET"]
    crowd, loop = [], Loop()
    for place in range(CUSTOMERS):
        # Machines with cables of their own cannot be reached from here, but by their sockets.
        far = place == CUSTOMERS - 1 and not stage.wired
        ends = [f"{plan.host}:{plan.port + 1}" if far else str(plan.socket) for plan in plans]
        first = place % SIZE
        known = (ends[first:] + ends[:first])[: 1 if place < SIZE else SIZE]
        client = loop.client if 0 < CUSTOMERS - place - 1 <= IN_A_LOOP else Client
        key = secret if far else None
        crowd.append(Customer(f"c{place}", known, record, str(seed), PAUSE_S, secret=key, client=client))
    with loop:
        for customer in crowd:
            customer.start()
        try:
            yield crowd
        finally:
            for customer in crowd:
                customer.ending.set()
            for customer in crowd:
                customer.join(PATIENCE_S + TIMEOUT_S)
    assert not any(customer.is_alive() for customer in crowd), "a call never ended"


def _go_on(stage: Stage, record: Record, crowd: list[Customer]) -> None:
    """Wait until every customer is served."""
    before = {customer.name: record.answered(customer.name) for customer in crowd}
    for name, answered in before.items():
        until(
            lambda name=name, answered=answered: record.answered(name) >= answered + AGAIN,  # type: ignore[misc]
            PATIENCE_S,
            lambda name=name: f"{name} is served\n{stage.picture()}",  # type: ignore[misc]
        )


def _stock(stage: Stage, record: Record) -> set[str]:
    """What the cluster holds in the end, and that every node comes to hold the same."""
    sockets = [str(stage.cluster.plans[node].socket) for node in stage.cluster.nodes]
    with Client(*sockets, timeout=PATIENCE_S) as node:
        ledger = take_stock(node, record)
        held = node.state.list()
    for socket in sockets:
        with Client(socket, timeout=PATIENCE_S) as node:
            until(lambda node=node: node.state.list(stale=True) == held, PATIENCE_S, f"{socket} holds the same")  # type: ignore[misc]
    return ledger


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="mltb-chaos-") as home:
        print(storm(Path(home), int(sys.argv[1]), int(sys.argv[2]), "loopback" not in sys.argv).figures())
