"""Nodes known by name whose addresses change, and change hands; and one that comes back on another port."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mltbctl.demo.cluster import NodePlan, free_port_pairs
from tests.e2e.namespaces import NETWORK, Cables, missing
from tests.e2e.stage import Stage
from tests.waiting import until

_LACKING = missing() or next((f"`{tool}` is missing" for tool in ("mount", "unshare") if not shutil.which(tool)), "")
pytestmark = [pytest.mark.e2e, pytest.mark.skipif(bool(_LACKING), reason=_LACKING or "all is there")]

BACK_S = 90.0
FORGOTTEN_S = 6.0
"""Longer than silence goes unnoticed: two leases."""
PORT = 7946


class Named:
    """The machines of these cables under names, in a table of names that all share and a test can change."""

    def __init__(self, cables: Cables, table: Path) -> None:
        self.hosts = [f"{node}.test" for node in cables.nodes]
        self._cables = cables
        self._table = table
        self.write()

    def write(self) -> None:
        """As the machines are addressed now. In place: it is mounted."""
        rows = [f"{host} {node}.test" for node, host in zip(self._cables.nodes, self._cables.hosts, strict=True)]
        self._table.write_text("\n".join(["127.0.0.1 localhost", *rows, ""]))

    def command(self, plan: NodePlan) -> list[str]:
        mounted = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', str(self._table)]
        return [*self._cables.within(plan.node), *mounted, *plan.command()]


@pytest.fixture(scope="module")
def cables() -> Iterator[Cables]:
    with Cables(3) as wires:
        yield wires


@pytest.fixture(scope="module")
def named(cables: Cables, tmp_path_factory: pytest.TempPathFactory) -> Named:
    return Named(cables, tmp_path_factory.mktemp("names") / "hosts")


@pytest.fixture(scope="module")
def stage(named: Named, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One cluster for all stories. All listen on one port: who has the address of another is taken for it."""
    town = Stage(tmp_path_factory.mktemp("town"), 3, cables=named, CLUSTER_ADDRESS="0.0.0.0")
    for node, plan in town.cluster.plans.items():
        text = re.sub(r"(\.test:|CLUSTER_PORT = )\d+", rf"\g<1>{PORT}", plan.config.read_text())
        plan.config.write_text(f'CLUSTER_ADVERTISE_ADDRESS = "{node}.test"\n{text}')
    with town:
        yield town


def incarnations(stage: Stage) -> dict[str, int] | None:
    """Of all nodes, once each of them says that all is well; else None."""
    found = {}
    for node in stage.cluster.nodes:
        picture = stage.status(node)
        cluster = picture["cluster"] if picture else {}
        if not picture or cluster["state"] != "STABLE" or cluster["active_nodes"] != len(stage.cluster.nodes):
            return None
        assert {member["address"] for member in picture["nodes"]} <= {f"{each}.test" for each in stage.cluster.nodes}
        found = {member["id"]: int(member["incarnation"]) for member in picture["nodes"]}
    return found


def whole(stage: Stage, after_s: float = 0.0) -> dict[str, int]:
    """Wait until all is well. `after_s`: and as long at least, so that nobody counts as heard from before."""
    since = time.monotonic()
    found = until(lambda: incarnations(stage) if time.monotonic() > since + after_s else None, BACK_S, stage.picture)
    stage.check()
    return found


def test_one_gets_another_address(stage: Stage, cables: Cables, named: Named) -> None:
    before = whole(stage)
    cables.readdress(n3=f"{NETWORK}.13")
    named.write()
    assert whole(stage, FORGOTTEN_S) == before, "without a restart of anybody"


@pytest.mark.parametrize("pair", [("n2", "n3"), ("n1", "n2")], ids=" ".join)
def test_two_exchange_their_addresses(stage: Stage, cables: Cables, named: Named, pair: tuple[str, str]) -> None:
    """Behind the old address of each the other one answers, so no connection ever fails for long."""
    before = whole(stage)
    one, other = pair
    hosts = dict(zip(cables.nodes, cables.hosts, strict=True))
    cables.readdress(**{one: hosts[other], other: hosts[one]})
    named.write()
    assert whole(stage, FORGOTTEN_S) == before


def test_one_comes_back_at_another_address_and_on_another_port(stage: Stage, cables: Cables, named: Named) -> None:
    """The others were told of it at the old one: it is the one that speaks, and its record goes round."""
    before = whole(stage)
    stage.cluster.kill("n3")
    (port,) = free_port_pairs(1)
    plan = stage.cluster.plans["n3"]
    plan.config.write_text(plan.config.read_text().replace(f"CLUSTER_PORT = {PORT}", f"CLUSTER_PORT = {port}"))
    cables.readdress(n3=f"{NETWORK}.23")
    named.write()
    stage.cluster.start("n3")
    after = whole(stage, FORGOTTEN_S)
    assert {node for node in after if after[node] != before[node]} == {"n3"}
    for node in stage.cluster.nodes:
        picture = until(lambda node=node: stage.status(node), BACK_S)  # type: ignore[misc]
        assert {member["id"]: member["port"] for member in picture["nodes"]} == {"n1": PORT, "n2": PORT, "n3": port}
