"""The four presets: exactly what is documented, valid on their own, and honest about what they run without."""

from __future__ import annotations

import pytest

from mltbd.config.options import OPTIONS
from mltbd.config.presets import PRESETS
from mltbd.config.tool import describe
from tests.daemon.config.machines import keys, loaded, problem, settings

EVERYTHING = {
    "CLUSTER_ENABLED",
    "FAILOVER_ENABLED",
    "REPLICATION_ENABLED",
    "DISTRIBUTED_STATE_ENABLED",
    "DISTRIBUTED_LOCKS_ENABLED",
    "HEALTH_MONITOR_ENABLED",
}
every = pytest.mark.parametrize("name", PRESETS)


def test_there_are_four() -> None:
    assert list(PRESETS) == ["development", "simple_failover", "full_ha", "distributed"]


@every
def test_each_preset_alone_is_valid_with_warnings(name: str) -> None:
    found = loaded(preset=name)
    assert keys(found) == []
    asked = [item.key for item in found.problems].count("preset")
    without = describe(PRESETS[name])["runs_without"]
    assert asked == bool(without), "what it runs without is told"
    assert all(feature in problem(found, "preset", "warning").message for feature in without)
    assert found.preset == name
    assert settings(found).cluster_enabled is True


@every
def test_each_value_is_one_of_its_option(name: str) -> None:
    for key, value in PRESETS[name].values.items():
        option = OPTIONS[key]
        assert type(value) is type(option.default) or option.default is None
        assert not option.choices or value in option.choices


@pytest.mark.parametrize(
    ("name", "on", "strategy", "nodes", "quorum"),
    [
        ("development", {"CLUSTER_ENABLED", "HEALTH_MONITOR_ENABLED"}, "active_passive", 1, 1),
        (
            "simple_failover",
            {"CLUSTER_ENABLED", "FAILOVER_ENABLED", "HEALTH_MONITOR_ENABLED"},
            "active_passive",
            2,
            2,
        ),
        ("full_ha", EVERYTHING, "active_active", 3, 2),
        ("distributed", EVERYTHING, "distributed", 5, 3),
    ],
)
def test_each_preset_is_what_is_documented(name: str, on: set[str], strategy: str, nodes: int, quorum: int) -> None:
    layers = loaded(preset=name).asked
    asked = {key: sourced.value for key, sourced in layers.items()}
    assert {key for key in EVERYTHING if layers[key].given and asked[key] is True} == on
    assert (asked["HA_STRATEGY"], asked["HA_MIN_NODES"], asked["HA_QUORUM_SIZE"]) == (strategy, nodes, quorum)


def test_what_only_some_presets_have() -> None:
    assert PRESETS["full_ha"].values["REPLICATION_CONSISTENCY"] == "quorum"
    assert PRESETS["distributed"].values["REPLICATION_MODE"] == "multi_master"
    alone = settings(loaded(preset="development"))
    assert (alone.founder, alone.min_nodes, alone.log_level) == (True, 1, "DEBUG")


@pytest.mark.parametrize("name", ["full_ha", "distributed"])
def test_what_is_not_built_is_left_out_and_said_so(name: str) -> None:
    found = loaded(preset=name)
    strategy = {"full_ha": "active_active"}.get(name, name)
    assert found.effective["HA_STRATEGY"].value == strategy
    without = problem(found, "preset", "warning").message
    assert "replication" in without
    assert found.effective["DISTRIBUTED_LOCKS_ENABLED"].value is True
