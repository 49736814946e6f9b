"""The service manager is told by the guard alone, through either kind of address, and nobody else knows where it is."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from mltbd.supervisor import Supervisor
from tests.waiting import PATIENCE_S


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"@mltb-test-{os.urandom(8).hex()}" if request.param == "abstract" else str(tmp_path / "notify")


def manager(address: str) -> socket.socket:
    """The manager's end."""
    end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    end.settimeout(PATIENCE_S)
    end.bind("\0" + address[1:] if address[0] == "@" else address)
    return end


def test_it_is_told_in_one_datagram_and_its_address_is_taken_out(address: str) -> None:
    environ = {"NOTIFY_SOCKET": address, "PATH": "/bin"}
    with manager(address) as end:
        supervisor = Supervisor(environ)
        assert supervisor.listens
        supervisor.tell(["READY=1", "STATUS=well"])
        assert end.recv(1000) == b"READY=1\nSTATUS=well"
    assert environ == {"PATH": "/bin"}
    supervisor.tell(["WATCHDOG=1"])  # Gone by now: no failure of ours.


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}])
def test_without_an_address_of_this_machine_nobody_is_told(environ: dict[str, str]) -> None:
    supervisor = Supervisor(environ)
    assert not supervisor.listens
    supervisor.tell(["READY=1"])
    assert environ == {}


def test_a_manager_that_does_not_read_is_not_waited_for(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with manager(address):
        supervisor = Supervisor({"NOTIFY_SOCKET": address})
        for _ in range(5000):
            supervisor.tell(["STATUS=" + "x" * 200])
