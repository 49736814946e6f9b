"""Each setting reaches the place in the core that it is for."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from mltbd.config.leaving import LEAVE_S
from mltbd.config.settings import Settings
from mltbd.core.failover import Policy
from mltbd.core.founding import Founder
from mltbd.core.timing import Timing
from mltbd.core.workload import Patience
from mltbd.runtime.wiring import LOOKS_SURVIVED, node_config, preferred
from tests.daemon.config.machines import SECRET, loaded, settings

TOML = """
[workload.main]
command = ["bot"]
preferred = ["n3", "n1"]

[workload.web]
command = ["web"]
"""


@pytest.fixture
def plain(tmp_path: Path) -> Settings:
    sets = (
        "CLUSTER_ENABLED=1", "CLUSTER_NODE_ID=n1", f"CLUSTER_SECRET={SECRET}", "HA_MIN_NODES=3",
        "CLUSTER_SEED_NODES=a.test:7946,b.test:7946", "FAILOVER_ENABLED=1",
    )  # fmt: skip
    return settings(loaded(*sets, toml=TOML, folder=tmp_path))


def flat(settings: Settings) -> dict[str, Any]:
    """The configuration of the core as dotted names."""
    config = node_config(settings, "c-1", "0.1.0")
    found = asdict(config)
    for part in ("founder", "policy", "patience", "timing"):
        found |= {f"{part}.{key}": value for key, value in found.pop(part).items()}
    return found


def test_the_whole_of_it(plain: Settings) -> None:
    config = node_config(plain, "c-1", "0.1.0")
    assert (config.node, config.cluster_id, config.cluster_name, config.version) == ("n1", "c-1", "mltb", "0.1.0")
    assert config.seeds == ("a.test:7946", "b.test:7946")
    assert config.founder == Founder(plain.founder, 3, 3)
    assert config.workloads == ("main", "web")
    assert isinstance(config.policy, Policy)
    assert config.patience == Patience(3, 60.0, LOOKS_SURVIVED * 5.0, plain.max_attempts)
    assert config.timing == plain.timing


@pytest.mark.parametrize(
    ("change", "reaches"),
    [
        ({"node_id": "n7"}, {"node": "n7"}),
        ({"cluster_name": "lab"}, {"cluster_name": "lab"}),
        ({"advertise_address": "bot.example"}, {"address": "bot.example"}),
        ({"address": "0.0.0.0"}, {}),
        ({"port": 8000}, {"port": 8000}),
        ({"seeds": ()}, {"seeds": (), "founder.expected": 1}),
        ({"seeds": (("a.test", 1), ("a.test", 1))}, {"seeds": ("a.test:1", "a.test:1"), "founder.expected": 2}),
        ({"role": "witness"}, {"role": "witness"}),
        ({"priority": 7}, {"priority": 7}),
        ({"founder": True}, {"founder.designated": True}),
        ({"min_nodes": 5}, {"founder.min_nodes": 5}),
        ({"quorum_size": 3}, {"quorum_size": 3}),
        ({"heartbeat_s": 1.0}, {"heartbeat_s": 1.0}),
        ({"node_timeout_s": 20.0}, {"node_timeout_s": 20.0}),
        ({"timing": Timing.derive(7.0)}, {f"timing.{k}": v for k, v in asdict(Timing.derive(7.0)).items()}),
        ({"failover_enabled": False}, {"policy.automatic": False}),
        ({"failover_mode": "manual"}, {"policy.automatic": False}),
        ({"failover_timeout_s": 9.0}, {"policy.timeout_s": 9.0}),
        ({"max_attempts": 9}, {"policy.max_attempts": 9, "patience.attempts_max": 9}),
        ({"recovery_wait_s": 9.0}, {"policy.recovery_wait_s": 9.0, "patience.cool_s": 9.0}),
        ({"failure_threshold": 9}, {"patience.failures_max": 9}),
        ({"health_check_interval_s": 9.0}, {"patience.steady_s": 18.0}),
        ({"workloads": ()}, {"workloads": (), "policy.preferred": {}, "leave_s": LEAVE_S}),
        ({"spread": True}, {"policy.spread": True, "policy.preferred": {"main": ("n3", "n1"), "web": ()}}),
        ({"lease_enforced": False}, {"lease_enforced": False}),
        ({"secret": None}, {}),
    ],
    ids=lambda value: ",".join(value) or "nothing",
)  # fmt: skip
def test_a_setting_changes_what_it_is_for_and_nothing_else(
    plain: Settings, change: dict[str, Any], reaches: dict[str, Any]
) -> None:
    plain = replace(plain, seeds=(("z.test", 1),), quorum_size=2, founder=False)
    before, after = flat(plain), flat(replace(plain, **change))
    changed = {key: after[key] for key in after if after[key] != before[key]}
    assert changed == {key: value for key, value in reaches.items() if before[key] != value}
    assert changed or not reaches


def test_the_secret_never_reaches_the_core(plain: Settings) -> None:
    assert plain.secret == SECRET
    assert SECRET not in repr(node_config(plain, "c-1", "0.1.0"))


@pytest.mark.parametrize(
    ("primary", "secondaries", "main", "web"),
    [
        (None, (), ("n3", "n1"), ()),
        ("n2", (), ("n3", "n1", "n2"), ("n2",)),
        ("n1", ("n2", "n3"), ("n3", "n1", "n2"), ("n1", "n2", "n3")),
        (None, ("n4",), ("n3", "n1", "n4"), ("n4",)),
    ],
)
def test_a_workloads_own_list_comes_before_the_primary_and_the_secondaries(
    plain: Settings, primary: str | None, secondaries: tuple[str, ...], main: tuple[str, ...], web: tuple[str, ...]
) -> None:
    changed = replace(plain, primary_node=primary, secondary_nodes=secondaries)
    assert preferred(changed) == {"main": main, "web": web}


def test_leaving_may_take_what_the_slowest_workload_takes_to_stop(plain: Settings) -> None:
    main, web = plain.workloads
    hooks = (("pre_start", ("a",)), ("pre_stop", ("b",)), ("post_stop", ("c",)))
    slow = replace(web, stop_timeout_s=25.0, hooks=hooks, hook_timeout_s=20.0)
    config = node_config(replace(plain, workloads=(main, slow)), "c-1", "0.1.0")
    assert config.leave_s == LEAVE_S + 25.0 + 20.0
