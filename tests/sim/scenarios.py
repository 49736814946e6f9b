"""What a seed can be played as, by name, for soak and replay."""

from __future__ import annotations

from collections.abc import Callable

from tests.sim.mixes import DISKS, MEMBERS, NETS, SLOW, STOPS
from tests.sim.recovery_scenario import run_recovery_seed
from tests.sim.scenario import Outcome, run_seed
from tests.sim.store_scenario import MEMBERS_MIX, StoreOutcome, run_store_seed

SCENARIOS: dict[str, Callable[[int], Outcome | StoreOutcome]] = {
    "storm": run_seed,
    "members": lambda seed: run_seed(seed, MEMBERS),
    "disks": lambda seed: run_seed(seed, DISKS),
    "slow": lambda seed: run_seed(seed, SLOW),
    "stops": lambda seed: run_seed(seed, STOPS),
    "nets": lambda seed: run_seed(seed, NETS),
    "store": run_store_seed,
    "crowd": lambda seed: run_store_seed(seed, MEMBERS_MIX),
    "recovery": run_recovery_seed,
}
