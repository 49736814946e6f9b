"""A node whose machine starts before its network: it is reached at no wrong address, and at the right one in time."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from mltb_transport.keys import new_secret
from mltbd.config.machine import ELSEWHERE, outward_address
from mltbd.runtime.route import FILE, Route, is_missing
from tests.daemon.config.machines import SECRET, loaded, machine
from tests.daemon.config.machines import settings as settings_of
from tests.deploy.nodes import READY_S, picture, running
from tests.e2e.namespaces import ip, missing
from tests.waiting import until

ADVERTISED = "CLUSTER_ADVERTISE_ADDRESS"
Places = tuple[tuple[str, int], ...]


class Network:
    """What routes there are: the address that each target is reached from. They come after so many questions."""

    def __init__(self, after: int = 0) -> None:
        self.after = after
        self.ways: dict[str, str] = {}
        self.asked: list[str] = []

    def outward(self, target: str) -> str | None:
        self.asked.append(target)
        return self.ways.get(target) if len(self.asked) > self.after else None


def route(network: Network, *sets: str, met: Places = (), folder: Path = Path(os.devnull)) -> Route:
    found = loaded("CLUSTER_ENABLED=1", f"CLUSTER_SECRET={SECRET}", *sets, on=machine(route=None))
    return Route(settings_of(found), found.effective[ADVERTISED], met, folder, network.outward)


@pytest.mark.parametrize(
    ("sets", "leads", "expected"),
    [
        (["CLUSTER_SEED_NODES=10.0.1.9:7946"], None, True),
        (["CLUSTER_SEED_NODES=n2.example:7946"], None, True),
        (["CLUSTER_SEED_NODES=127.0.0.1:7000,10.0.1.9:7946"], None, True),
        ([], None, True),
        ([], "10.0.1.5", False),
        (["CLUSTER_SEED_NODES=127.0.0.1:7000"], None, False),
        (["CLUSTER_ADVERTISE_ADDRESS=127.0.0.1"], None, False),
        (["CLUSTER_ADDRESS=127.0.0.1"], None, False),
        (["CLUSTER_ADDRESS=10.0.1.5"], None, False),
    ],
)
def test_when_nobody_says_where_a_node_is_reached(sets: list[str], leads: str | None, expected: bool) -> None:
    found = loaded("CLUSTER_ENABLED=1", f"CLUSTER_SECRET={SECRET}", *sets, on=machine(route=leads))
    assert is_missing(settings_of(found), found.effective[ADVERTISED]) is expected


@pytest.mark.parametrize(
    ("seeds", "met", "towards"),
    [
        ("10.0.1.9:7946", (), "10.0.1.9"),
        ("10.0.1.9:7946,10.0.2.9:7946", (), "10.0.2.9"),
        ("", (("10.0.1.9", 7946),), "10.0.1.9"),
        ("nobody.invalid:7946", (), ELSEWHERE),
    ],
)
def test_any_of_the_others_may_lead_to_the_address(seeds: str, met: Places, towards: str) -> None:
    async def play() -> None:
        network = Network()
        network.ways[towards] = "10.0.9.1"
        one = route(network, f"CLUSTER_SEED_NODES={seeds}", met=met)
        assert (await one.settle()).advertise_address == "10.0.9.1"
        one.watch(lambda: pytest.fail("it was found already"))
        one.close()

    asyncio.run(play())


def test_a_seed_given_by_name_is_looked_up_and_the_node_itself_is_no_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> None:
        def getaddrinfo(host: str, port: int, *_: object) -> list[tuple[object, ...]]:
            return [(0, 0, 0, "", ("10.0.1.9" if host == "n2.example" else host, port))]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        network = Network()
        network.ways["10.0.1.9"] = "10.0.1.1"
        settled = await route(network, "CLUSTER_SEED_NODES=n2.example:7946,10.0.1.1:7946").settle()
        assert settled.advertise_address == "10.0.1.1"
        assert settled.seeds == (("n2.example", 7946),)

    asyncio.run(play())


def test_a_route_within_the_machine_is_none() -> None:
    async def play() -> None:
        network = Network()
        network.ways["10.0.1.9"] = "127.0.0.1"
        assert (await route(network, "CLUSTER_SEED_NODES=10.0.1.9:7946").settle()).advertise_address == "127.0.0.1"

    asyncio.run(play())


def test_the_daemon_starts_anew_once_there_is_a_route() -> None:
    async def play() -> None:
        network, anew = Network(after=4), asyncio.Event()
        network.ways["10.0.1.9"] = "10.0.1.1"
        one = route(network, "CLUSTER_SEED_NODES=10.0.1.9:7946")
        assert (await one.settle()).advertise_address == "127.0.0.1", "nobody can be told"
        one.watch(anew.set)
        await asyncio.wait_for(anew.wait(), READY_S)
        assert len(network.asked) > 4, "it kept looking"
        one.close()

    asyncio.run(play())


def own_address() -> str:
    """One of this machine, not on loopback."""
    return outward_address(ELSEWHERE) or pytest.skip("this machine has no route")


def test_a_route_that_is_found_late_again_is_known_from_the_last_time(tmp_path: Path) -> None:
    """Or a daemon that finds it would end as soon as it has begun, and the next one as well."""

    async def play() -> None:
        network, own, anew = Network(after=1), own_address(), asyncio.Event()
        network.ways[ELSEWHERE] = own
        one = route(network, folder=tmp_path)
        assert (await one.settle()).advertise_address == "127.0.0.1"
        one.watch(anew.set)
        await asyncio.wait_for(anew.wait(), READY_S)
        one.close()
        network = Network(after=99)
        again = route(network, folder=tmp_path)
        assert (await again.settle()).advertise_address == own
        again.watch(lambda: pytest.fail("it is known"))
        again.close()

    asyncio.run(play())


@pytest.mark.parametrize(
    "kept", ["", "192.0.2.1", "2001:db8::1", "127.0.0.1", "n1.example", "0.0.0.0", "10.0.1.1\n", "\0", "9" * 9999]
)
def test_an_address_that_is_none_of_this_machine_is_not_kept(tmp_path: Path, kept: str) -> None:
    async def play() -> None:
        (tmp_path / FILE).write_text(kept)
        assert (await route(Network(), folder=tmp_path).settle()).advertise_address == "127.0.0.1"

    asyncio.run(play())


def test_who_is_told_looks_for_nothing() -> None:
    async def play() -> None:
        network = Network()
        one = route(network, "CLUSTER_ADVERTISE_ADDRESS=bot.example")
        assert (await one.settle()).advertise_address == "bot.example"
        one.watch(lambda: pytest.fail("there is nothing to look for"))
        one.close()
        assert network.asked == []

    asyncio.run(play())


@pytest.fixture
def machine_without_network() -> Iterator[str]:
    if lacking := missing():
        pytest.skip(lacking)
    name = f"mltbtest-{os.getpid()}-route"
    ip("netns", "add", name)
    yield name
    ip("netns", "del", name)


@pytest.mark.e2e
@pytest.mark.parametrize("seed", ["10.77.9.2", "n2.example"])
def test_a_node_that_starts_before_its_network_is_reached_once_it_is_there(
    machine_without_network: str, seed: str
) -> None:
    """On a network without a default route, the other one given by address or by a name that nobody knows yet."""
    within = ["nsenter", f"--net=/run/netns/{machine_without_network}"]
    with TemporaryDirectory(prefix="mltb-") as directory:
        base = Path(directory)
        (base / "secret").write_text(new_secret())
        (base / "secret").chmod(0o600)
        (base / "hosts").write_text("127.0.0.1 localhost\n")
        environ = {
            "CLUSTER_NODE_ID": "n1", "CLUSTER_SECRET_FILE": str(base / "secret"), "CLUSTER_SEED_NODES": f"{seed}:7946",
            "HA_MIN_NODES": "1", "CLUSTER_BOOTSTRAP": "1", "MLTB_CONFIG": os.devnull,
            "MLTB_STATE_DIR": str(base / "state"), "MLTB_RUNTIME_DIR": str(base),
        }  # fmt: skip

        def reached() -> dict[str, str]:
            seen = picture(base / "mltb" / "n1.sock")
            return {node["id"]: node["address"] for node in seen["nodes"]} if seen else {}

        mounted = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', str(base / "hosts")]
        with running(environ, base / "log", [*within, *mounted]):
            until(lambda: reached() == {"n1": "127.0.0.1"}, READY_S, (base / "log").read_text)
            for words in ("add cable type veth peer name end", "set end up", "set cable up"):
                subprocess.run([*within, "ip", "link", *words.split()], check=True)
            subprocess.run([*within, "ip", "address", "add", "10.77.9.1/24", "dev", "cable"], check=True)
            (base / "hosts").write_text("127.0.0.1 localhost\n10.77.9.2 n2.example\n")
            until(lambda: reached() == {"n1": "10.77.9.1"}, READY_S, (base / "log").read_text)
