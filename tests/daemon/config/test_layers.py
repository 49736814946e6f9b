"""Which layer wins, that each value knows where it came from, and that unknown keys are mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mltbd.config.layers import SETS_MAX, UNKNOWN_SHOWN_MAX
from mltbd.config.options import OPTIONS, PREFIXES
from mltbd.config.settings import load
from tests.daemon.config.machines import EMPTY_FILE, SECRET, keys, loaded, machine, problem, settings


def test_later_layers_win_and_each_value_knows_its_origin(tmp_path: Path) -> None:
    toml = "ha_min_nodes = 4\nCLUSTER_PORT = 1001\nCLUSTER_NODE_PRIORITY = 1\n"
    environ = {"CLUSTER_PORT": "1002", "CLUSTER_NODE_PRIORITY": "2"}
    found = loaded("CLUSTER_NODE_PRIORITY=3", preset="full_ha", toml=toml, environ=environ, folder=tmp_path)
    effective = found.effective
    assert (effective["CLUSTER_ENABLED"].value, effective["CLUSTER_ENABLED"].origin) == (True, "preset full_ha")
    assert effective["HA_MIN_NODES"].value == 4
    assert effective["HA_MIN_NODES"].origin == f"{tmp_path}/mltb.toml:1"
    assert (effective["CLUSTER_PORT"].value, effective["CLUSTER_PORT"].origin) == (1002, "env CLUSTER_PORT")
    assert effective["CLUSTER_NODE_PRIORITY"].value == 3
    assert effective["CLUSTER_NODE_PRIORITY"].origin == "--set"
    assert (effective["CLUSTER_NAME"].value, effective["CLUSTER_NAME"].origin) == ("mltb", "default")


@pytest.mark.parametrize(
    ("flag", "environ", "toml", "expected"),
    [
        ("full_ha", {"MLTB_PRESET": "development"}, 'preset = "distributed"', "full_ha"),
        (None, {"MLTB_PRESET": "development"}, 'preset = "distributed"', "development"),
        (None, {}, 'preset = "distributed"', "distributed"),
        (None, {"MLTB_PRESET": ""}, "", None),
    ],
)
def test_the_preset_comes_from_flag_then_environment_then_file(
    tmp_path: Path, flag: str | None, environ: dict[str, str], toml: str, expected: str | None
) -> None:
    assert loaded(preset=flag, environ=environ, toml=toml, folder=tmp_path).preset == expected


def test_an_unknown_preset_names_the_known_ones_and_the_nearest() -> None:
    found = problem(loaded(preset="full-ha"), "preset")
    assert found.hint == "did you mean `full_ha`?"
    assert "`simple_failover`" in found.message


@pytest.mark.parametrize(
    ("toml", "environ", "sets", "key", "hint"),
    [
        ("CLUSTER_PROT = 1", {}, [], "CLUSTER_PROT", "did you mean `CLUSTER_PORT`?"),
        ("cluster_prt = 1", {}, [], "cluster_prt", "did you mean `CLUSTER_PORT`?"),
        ("workloads = 1", {}, [], "workloads", "did you mean `workload`?"),
        ("", {"CLUSTER_PROT": "1"}, [], "CLUSTER_PROT", "did you mean `CLUSTER_PORT`?"),
        ("", {"FAILOVER_ENABELD": "1"}, [], "FAILOVER_ENABELD", "did you mean `FAILOVER_ENABLED`?"),
        ("", {"SPLIT_BRAIN_PREVENT": "1"}, [], "SPLIT_BRAIN_PREVENT", "`SPLIT_BRAIN_PREVENTION`?"),
        ("", {}, ["CLUSTER_PROT=1"], "CLUSTER_PROT", "did you mean `CLUSTER_PORT`?"),
        ("", {}, ["workload.main.command=x"], "workload.main.command", "`[workload]` is a table of the configuration"),
        ("", {}, ["api.port=8080"], "api.port", "file: see `mltbctl config init`"),
        ("", {}, ["CLUSTER_PORT"], "--set", "--set CLUSTER_PORT=7946"),
    ],
)
def test_unknown_keys_are_errors_with_a_suggestion(
    tmp_path: Path, toml: str, environ: dict[str, str], sets: list[str], key: str, hint: str
) -> None:
    found = problem(loaded(*sets, toml=toml, environ=environ, folder=tmp_path), key)
    assert hint in found.hint


def test_every_prefix_of_ours_is_watched_and_other_variables_are_not() -> None:
    ours = {f"{prefix}ZZZZZZ": "1" for prefix in PREFIXES}
    assert keys(loaded(environ={**ours, "HAPPY": "1", "MLTB_TOKEN": "1", "PATH": "x"})) == sorted(ours)


def test_a_flood_of_unknown_variables_is_cut() -> None:
    found = keys(loaded(environ={f"CLUSTER_X{n}": "1" for n in range(UNKNOWN_SHOWN_MAX + 5)}))
    assert len(found) == UNKNOWN_SHOWN_MAX + 1
    assert found[-1] == "environment"


def test_kubernetes_may_describe_its_services_but_not_set_a_port() -> None:
    links = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "CLUSTER_SERVICE_HOST": "10.0.0.2"}
    links["CLUSTER_PORT_7946_TCP_ADDR"] = "10.0.0.2"
    assert keys(loaded(environ=links)) == []
    assert "enableServiceLinks" in problem(loaded(environ={**links, "CLUSTER_PORT": "tcp://x:1"}), "CLUSTER_PORT").hint
    assert "CLUSTER_SERVICE_HOST" in keys(loaded(environ={"CLUSTER_SERVICE_HOST": "x"}))


def test_an_empty_variable_is_unset_but_an_empty_list_is_a_list(tmp_path: Path) -> None:
    toml = 'CLUSTER_PORT = 1001\nCLUSTER_SEED_NODES = ["a:1"]'
    environ = {"CLUSTER_PORT": "", "CLUSTER_SEED_NODES": ""}
    found = settings(loaded(toml=toml, environ=environ, folder=tmp_path))
    assert (found.port, found.seeds) == (1001, ())


def test_too_many_sets_are_refused() -> None:
    assert "write a configuration file" in problem(loaded(*["CLUSTER_PORT=1"] * (SETS_MAX + 1)), "--set").hint


def test_a_key_written_twice_in_two_cases_is_refused(tmp_path: Path) -> None:
    found = problem(loaded(toml="CLUSTER_PORT = 1\ncluster_port = 2", folder=tmp_path), "CLUSTER_PORT")
    assert "twice" in found.message
    assert found.origin.endswith(":2")


def test_a_secret_in_a_readable_file_or_on_the_command_line_is_worth_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "open.toml"
    path.write_text(f'CLUSTER_SECRET = "{SECRET}"', encoding="utf-8")
    path.chmod(0o644)
    found = load(None, path, [], {}, machine())
    assert "chmod 600" in problem(found, "CLUSTER_SECRET", "warning").hint
    path.chmod(0o600)
    assert keys(load(None, path, [], {}, machine()), "warning") == []
    by_flag = load(None, EMPTY_FILE, [f"CLUSTER_SECRET={SECRET}"], {}, machine())
    assert "`ps`" in problem(by_flag, "CLUSTER_SECRET", "warning").message


@pytest.mark.parametrize(
    ("toml", "key", "message"),
    [
        ("[api]\nport = 8080", "api.port", "not in this version"),
        ("[api]\nport = 70000", "api.port", "0 to 65535"),
        ("[api]\nhost = 1", "api.host", "no key"),
        ("api = 1", "api", "is a table"),
        ('[[check]]\nkind = "disk"', "check", "needs `path`"),
        ('[[check]]\nkind = "heartbeat"', "check", "no kind of check here"),
        ("preset = 1", "preset", "is text"),
        ("CLUSTER_PORT = 0", "CLUSTER_PORT", "outside 1 to 65534"),
    ],
)
def test_what_a_file_may_not_say(tmp_path: Path, toml: str, key: str, message: str) -> None:
    found = problem(loaded(toml=toml, folder=tmp_path), key)
    assert message in found.message
    assert found.origin.startswith(str(tmp_path / "mltb.toml:"))


def test_an_api_port_of_zero_is_fine(tmp_path: Path) -> None:
    assert keys(loaded(toml="[api]\nport = 0", folder=tmp_path)) == []


@given(
    st.dictionaries(
        st.sampled_from([*OPTIONS, "MLTB_PRESET", "CREDENTIALS_DIRECTORY"])
        | st.text(max_size=20).map(lambda text: f"HA_{text}"),
        st.text(max_size=40) | st.sampled_from(["1", "true", "a:1", "0.5", "full_ha"]),
        max_size=12,
    ),
    st.lists(st.text(max_size=30) | st.sampled_from(sorted(OPTIONS)).map(lambda name: f"{name}=1"), max_size=4),
)
@hypothesis_settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_garbage_environments_never_crash(environ: dict[str, str], sets: list[str]) -> None:
    found = load(None, EMPTY_FILE, sets, environ, machine())
    assert (found.settings is None) == any(item.level == "error" for item in found.problems)
