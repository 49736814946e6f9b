"""One seed of locks and state: a cluster under faults, a crowd of clients, and what their record proves."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tests.histories.models import judged, old_tokens, tokens_out_of_order
from tests.sim.checkers import FALSE, TRUE, Verdict, check_safety
from tests.sim.clients import Crowd, Record
from tests.sim.cluster import Cluster, Shape
from tests.sim.faults import Faults
from tests.sim.history import History, story
from tests.sim.mixes import MEMBERS, Mix
from tests.sim.scenario import draw_shape

FROM_S = 1.0
QUIET_S = 8.0
"""From the end of the faults on, clients go on for so long."""
MIX = Mix(duration_s=12.0, name="store")
MEMBERS_MIX = replace(MEMBERS, duration_s=14.0, name="crowd")


@dataclass(frozen=True, slots=True)
class StoreOutcome:
    """One seed, judged. `undecided`: histories too wide to be judged."""

    seed: int
    shape: Shape
    history: History
    record: Record
    verdicts: list[Verdict]
    undecided: int
    what: str

    @property
    def failed(self) -> list[Verdict]:
        return [verdict for verdict in self.verdicts if verdict.answer != TRUE]

    def explain(self, last: int = 60) -> str:
        lines = [f"seed {self.seed}: {self.shape.describe()}", story(self.history, last)]
        lines += [f"seed {self.seed}: {verdict}" for verdict in self.failed]
        return "\n".join([*lines, f"replay: python -m tests.sim.replay {self.seed} {last} {self.what}"])


def run_store_seed(seed: int, mix: Mix = MIX, shape: Shape | None = None) -> StoreOutcome:
    """The whole story of one seed."""
    shape = shape or draw_shape(seed)
    cluster = Cluster(shape, seed)
    crowd = Crowd(cluster)
    faults = Faults(cluster, mix)
    cluster.power_on()
    faults.begin()
    crowd.begin(FROM_S)
    cluster.run(mix.from_s + mix.duration_s)
    faults.end()
    healed = cluster.now
    cluster.run_for(QUIET_S)
    crowd.close()
    cluster.close()
    verdicts = check_safety(cluster.history, shape.lease_s)
    found, undecided = judge(crowd.record)
    verdicts += found
    late = [at for at in crowd.record.answered_at if at > healed + QUIET_S / 2]
    verdicts.append(_verdict("clients go on", "" if late else "no answer in the second half of the quiet time"))
    verdicts.append(_verdict("copies agree", _differ(cluster)))
    return StoreOutcome(seed, shape, cluster.history, crowd.record, verdicts, undecided, mix.name)


def judge(record: Record) -> tuple[list[Verdict], int]:
    """What the record proves, and how many histories were too wide."""
    found = judged(record.keys, record.locks)
    unordered = [token for ops in record.locks.values() for token in tokens_out_of_order(ops)]
    return [
        _verdict("linearizable", "; ".join(flaw.why for flaw in found if flaw.decided)),
        _verdict("lock tokens grow", "; ".join(unordered)),
        _verdict("old tokens are refused", "; ".join(old_tokens(record.guarded))),
        _verdict("clients are remembered", "; ".join(record.forgotten)),
    ], sum(not flaw.decided for flaw in found)


def _differ(cluster: Cluster) -> str:
    """Whoever applied as much holds the same."""
    dumps: dict[int, tuple[str, str]] = {}
    for name, machine in cluster.machines.items():
        if machine.node is None:
            continue
        state = machine.node.state
        dump = repr(state.store.dump())
        first, known = dumps.setdefault(state.applied, (name, dump))
        if known != dump:
            return f"{name} and {first} differ after entry {state.applied}"
    return ""


def _verdict(checker: str, why: str) -> Verdict:
    return Verdict(checker, FALSE if why else TRUE, why)
