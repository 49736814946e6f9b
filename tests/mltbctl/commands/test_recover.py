"""Unsafe recovery on a real journal: refused while anybody answers, asked for by name, and then it leads alone."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from mltb_transport.keys import new_secret
from mltb_transport.messages import Entry, Founding, Grant, NoOp
from mltb_transport.voters import Voter
from mltbctl.commands import silence
from mltbctl.commands.recover import TOOL, _places
from mltbctl.errors import CliError
from mltbd.core.consensus import Consensus
from mltbd.core.effects import Save
from mltbd.core.outbox import Outbox
from mltbd.core.recovery import INDEX_LEAP
from mltbd.core.voting import LEADER
from mltbd.runtime import recover as tool
from mltbd.runtime.journal_errors import failed
from mltbd.runtime.journal_file import JournalFile
from mltbd.runtime.met import HOST_CHARS_MAX, MET_MAX, Met
from tests.daemon.core.core_kit import TIMING, Company, Fixed
from tests.daemon.runtime.journal_kit import Book
from tests.mltbctl.fake_daemon import FakeDaemon, Refusal, Silence
from tests.mltbctl.terminal import Outcome, run_here

Capture = pytest.CaptureFixture[str]
VOTERS = tuple(Voter(f"n{number}", f"disk-n{number}") for number in (1, 2, 3))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """n1, stopped, with a founding and one more entry on its disk; it has met a node at a port that is closed."""
    for name in ("MLTB_CONFIG", "MLTB_STATE_DIR", "CLUSTER_SECRET", "CLUSTER_SECRET_FILE"):
        monkeypatch.delenv(name, raising=False)
    secret = tmp_path / "secret"
    secret.write_text(new_secret())
    secret.chmod(0o600)
    (tmp_path / "n1.toml").write_text(
        'CLUSTER_ENABLED = true\nCLUSTER_NODE_ID = "n1"\nCLUSTER_ADDRESS = "127.0.0.1"\nCLUSTER_LEASE_DURATION = 1.0\n'
        f'CLUSTER_SECRET_FILE = "{secret}"\n'
    )
    (tmp_path / "n1.toml").chmod(0o600)
    with Book(tmp_path / "s") as book:
        book.write(Save(1, 2, "n1", (Entry(1, 1, 0, Founding("c1", "lab", VOTERS)), Entry(2, 2, 0, NoOp()))))
    (tmp_path / "s" / "met.json").write_text('["127.0.0.1:1"]')
    return tmp_path


def recover(capsys: Capture, here: Path, *more: str) -> Outcome:
    return run_here(
        capsys, "recover", "--config", str(here / "n1.toml"), "--state-dir", str(here / "s"), "-o", "json", *more
    )


def test_it_is_asked_for_by_the_name_of_the_cluster(capsys: Capture, here: Path) -> None:
    asked = recover(capsys, here)
    assert (asked.code, "--confirm NAME" in asked.err) == (3, True)
    wrong = recover(capsys, here, "--confirm", "prod")
    assert (wrong.code, "not the cluster `prod`" in wrong.err) == (3, True)
    dry = recover(capsys, here, "--dry-run")
    assert json.loads(dry.out)["recovered"] is False
    with Book(here / "s") as book:
        assert book.recovered.snapshot is None


def test_it_goes_on_alone(capsys: Capture, here: Path) -> None:
    outcome = recover(capsys, here, "--confirm", "lab")
    assert outcome.code == 0, outcome.err
    assert "UNSAFE" in outcome.err
    told = json.loads(outcome.out)
    assert (told["before"], told["voters"], told["recovered"]) == ("c1", ["n1", "n2", "n3"], True)
    with Book(here / "s") as book:
        found = book.recovered
    assert found.last_index > INDEX_LEAP
    out = Outbox()
    node = Consensus("n1", found, TIMING, Fixed(), out, Company(), priority=100, quorum_size=2, now=0.0)
    assert list(node.voters) == ["n1"]
    while node.role != LEADER:
        node.tick(node.next_deadline(), 0)
        node.saved(out.save_number, node.next_deadline(), 0)
    assert node.term > told["term"]
    assert recover(capsys, here, "--confirm", "lab").code == 5  # Once is enough.


def test_a_node_that_runs_by_its_environment_alone(
    capsys: Capture, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file was named, and none is in the usual place."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    environment = {"XDG_CONFIG_HOME": str(here), "CLUSTER_ENABLED": "true", "CLUSTER_NODE_ID": "n1"}
    more = {"CLUSTER_SECRET_FILE": str(here / "secret"), "CLUSTER_LEASE_DURATION": "1.0"}
    for key, value in {**environment, **more}.items():
        monkeypatch.setenv(key, value)
    outcome = run_here(capsys, "recover", "--state-dir", str(here / "s"), "--dry-run")
    assert (outcome.code, "n1 could go on alone" in outcome.out) == (0, True), outcome.err


def test_it_is_refused_while_anybody_answers(capsys: Capture, here: Path) -> None:
    secret = (here / "secret").read_text()
    with FakeDaemon(here / "x.sock", {"ping": lambda _: {"node": "n2", "version": "0"}}, secret) as other:
        (here / "s" / "met.json").write_text(json.dumps([f"127.0.0.1:{other.port - 1}"]))
        outcome = recover(capsys, here, "--confirm", "lab")
    assert outcome.code == 5
    assert "n2 at 127.0.0.1" in outcome.err
    with Book(here / "s") as book:
        assert book.recovered.snapshot is None


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (Refusal(code="overloaded", message="too much to do"), "could not be asked: too much to do"),
        (Refusal(code="unavailable", message="too early"), "could not be asked: too early"),
        (Silence(), "takes the connection, and does not answer"),
    ],
)
def test_whoever_is_there_and_does_not_say_who_is_no_silence(
    capsys: Capture, here: Path, monkeypatch: pytest.MonkeyPatch, trouble: Exception, words: str
) -> None:
    monkeypatch.setattr(silence, "KNOCK_S", 1.0)

    def busy(_: dict[str, Any]) -> dict[str, Any]:
        raise trouble

    with FakeDaemon(here / "x.sock", {"ping": busy}, (here / "secret").read_text()) as other:
        (here / "s" / "met.json").write_text(json.dumps([f"127.0.0.1:{other.port - 1}"]))
        outcome = recover(capsys, here, "--confirm", "lab")
    assert (outcome.code, f"{words}; nothing was changed" in outcome.err) == (5, True)


def test_a_place_where_nobody_can_be_asked_is_no_silence(capsys: Capture, here: Path) -> None:
    (here / "s" / "met.json").write_text('["127.0.0.1:65535"]')
    outcome = recover(capsys, here, "--confirm", "lab")
    assert (outcome.code, "127.0.0.1:65536 could not be asked" in outcome.err) == (5, True)
    with Book(here / "s") as book:
        assert book.recovered.snapshot is None


def test_whoever_takes_a_connection_is_no_silence_however_slow(
    capsys: Capture, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its handshake takes longer than we wait: only the kernel over there has answered. One port is enough."""
    monkeypatch.setattr(silence, "KNOCK_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        for gossip, words in (
            (port - 1, "takes the connection, and does not"),
            (port, "takes connections, for gossip"),
        ):
            (here / "s" / "met.json").write_text(json.dumps([f"127.0.0.1:{gossip}"]))
            outcome = recover(capsys, here, "--confirm", "lab")
            assert (outcome.code, f"somebody at 127.0.0.1:{port} {words}" in outcome.err) == (5, True), outcome.err


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, ""), 0, ""),
        (TimeoutError("timed out"), 0, ""),
        (OSError(errno.EHOSTUNREACH, "No route to host"), 0, ""),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), 5, "network is unreachable; nothing was changed"),
        (OSError(errno.EADDRNOTAVAIL, "Cannot assign"), 5, "mend that first; where that node is gone for good"),
        (OSError(errno.EPERM, "Operation not permitted"), 5, "127.0.0.1:2 could not be asked: operation not permitted"),
        (OSError(errno.EMFILE, "Too many open files"), 5, "ulimit -n"),
    ],
)
def test_what_this_machine_cannot_ask_is_no_silence(
    capsys: Capture, here: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, code: int, words: str
) -> None:
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(silence, "_connect", fails)
    outcome = recover(capsys, here, "--dry-run")
    assert (outcome.code, words in outcome.err) == (code, True), outcome.err


def test_a_name_that_cannot_be_looked_up_is_no_silence(
    capsys: Capture, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    (here / "s" / "met.json").write_text('["n2.example.test:7946"]')
    monkeypatch.setattr(socket, "getaddrinfo", fails)
    outcome = recover(capsys, here, "--confirm", "lab")
    assert (outcome.code, "`n2.example.test` cannot be looked up" in outcome.err) == (5, True)
    assert "or name the node by its address" in outcome.err


def test_all_addresses_of_a_name_are_asked(capsys: Capture, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def two(*_: object, **__: object) -> list[Any]:
        kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*kind, (address, 0)) for address in ("127.0.0.2", "127.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", two)
    with FakeDaemon(here / "x.sock", {"ping": lambda _: {"node": "n2"}}, (here / "secret").read_text()) as other:
        (here / "s" / "met.json").write_text(json.dumps([f"n2.example.test:{other.port - 1}"]))
        outcome = recover(capsys, here, "--confirm", "lab")
    assert (outcome.code, f"n2 at n2.example.test:{other.port} answers" in outcome.err) == (5, True), outcome.err


def test_a_place_is_listened_at_through_the_lease_whatever_another_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """One is dead, and one knock at it takes the whole lease; the other's daemon starts meanwhile."""
    knocks: list[str] = []

    def knock(door: silence.Door, *_: object) -> CliError | None:
        knocks.append(door.address)
        if door.address == "127.0.0.2":
            threading.Event().wait(0.3)
            return None
        return CliError("n3 answers") if knocks.count("127.0.0.3") > 4 else None

    monkeypatch.setattr(silence, "PAUSE_S", 0.01)
    monkeypatch.setattr(silence, "_knock", knock)
    with pytest.raises(CliError, match="n3 answers"):
        silence.listen(["127.0.0.2:7947", "127.0.0.3:7947"], None, 0.3, "")


def test_ctrl_c_waits_for_no_answer() -> None:
    """Nor for the lease, nor for a wire that swallows everything: that may take as long."""
    script = """
import os, signal, time
from mltbctl.commands import silence

def swallows(door, _):
    if door.asks:
        os.kill(os.getpid(), signal.SIGINT)
    time.sleep(1000)

signal.signal(signal.SIGINT, signal.default_int_handler)
silence._connect = swallows
silence.listen(["127.0.0.1:2"], None, 1.0, "")
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert ended.stderr.splitlines()[-1] == "KeyboardInterrupt"


def test_it_listens_through_the_longest_lease_of_any_grant(capsys: Capture, here: Path) -> None:
    """An operator has shortened the lease since; the owner still runs by that of its grant."""
    with Book(here / "s") as book:
        book.write(Save(2, 2, "n1", (Entry(3, 2, 0, Grant("main", "n2", "placement", lease_s=1.5)),)))
    outcome = recover(capsys, here, "--dry-run")
    assert (outcome.code, "for 1.5 s" in outcome.err, "lease_s" in outcome.out) == (0, True, False), outcome.err


def beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tool runs in this process."""
    run = subprocess.run

    def called(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        if TOOL not in command:
            return run(command, **options)
        with contextlib.redirect_stdout(io.StringIO()) as out:
            code = tool.main(command[4:])
        return subprocess.CompletedProcess(command, code, out.getvalue(), "")

    monkeypatch.setattr(subprocess, "run", called)


def test_a_disk_that_comes_late_may_have_done_it(capsys: Capture, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = JournalFile.write

    def slow(journal: JournalFile, saves: list[Save]) -> None:
        threading.Event().wait(0.5)
        write(journal, saves)

    beside(monkeypatch)
    monkeypatch.setattr(tool, "DISK_S", 0.05)
    monkeypatch.setattr(JournalFile, "write", slow)
    outcome = recover(capsys, here, "--confirm", "lab")
    assert outcome.code == 6
    assert "it may yet go on alone" in outcome.err
    assert "nothing was changed" not in outcome.err
    again = recover(capsys, here, "--confirm", "lab")
    assert (again.code, "n1 is the only voter already: start it" in again.err) == (5, True)


def test_a_disk_that_refuses_says_so_at_once(capsys: Capture, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(journal: JournalFile, _: list[Save]) -> None:
        raise failed(journal.path, OSError(errno.EIO, "Input/output error"))

    beside(monkeypatch)
    monkeypatch.setattr(tool, "DISK_S", 3600.0)
    monkeypatch.setattr(JournalFile, "write", refuses)
    outcome = recover(capsys, here, "--confirm", "lab")
    assert (outcome.code, "Input/output error: it may yet go on alone" in outcome.err) == (6, True), outcome.err
    assert "check the disk and the permissions; then run it again" in outcome.err


def test_a_disk_that_never_comes_is_no_traceback(capsys: Capture, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = subprocess.run

    def never(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        if TOOL not in command:
            return run(command, **options)
        raise subprocess.TimeoutExpired(command, 1)

    monkeypatch.setattr(subprocess, "run", never)
    outcome = recover(capsys, here, "--confirm", "lab")
    assert (outcome.code, "nothing was changed" in outcome.err) == (6, True)


@pytest.mark.parametrize("text", ["", '["127.0.0.1:1"', "[" * 9000, "{}", '["127.0.0.1:1", 7]'])
def test_a_file_that_cannot_be_read_names_nobody_to_listen_for(capsys: Capture, here: Path, text: str) -> None:
    (here / "s" / "met.json").write_text(text)
    outcome = recover(capsys, here, "--confirm", "lab")
    assert (outcome.code, "who else may live is not known" in outcome.err) == (5, True)


def test_what_was_put_aside_as_damaged_is_not_forgotten(capsys: Capture, here: Path) -> None:
    """By a start of the daemon, which then kept the few that it met."""
    (here / "s" / "met.json.bad").write_text("")
    outcome = recover(capsys, here, "--confirm", "lab")
    assert (outcome.code, "met.json.bad` cannot be read, so who else may live is not known" in outcome.err) == (5, True)


def test_all_that_a_node_keeps_are_listened_for(here: Path) -> None:
    Met(here / "s").keep([(f"{number:03}".rjust(HOST_CHARS_MAX, "h"), 65000) for number in range(MET_MAX)])
    Met(here / "s").keep([("127.0.0.1", 1)])  # Restarted in a minority.
    settings = {"CLUSTER_SEED_NODES": [], "CLUSTER_ADVERTISE_ADDRESS": "10.0.0.1", "CLUSTER_PORT": 7946}
    places = _places(settings, here / "s")
    assert (len(places), places[0]) == (MET_MAX, "127.0.0.1:2")


def test_it_is_refused_while_the_node_runs_or_was_mistyped(capsys: Capture, here: Path) -> None:
    with Book(here / "s"):
        running = recover(capsys, here, "--confirm", "lab")
    assert (running.code, "in use by another mltbd" in running.err) == (5, True)
    (here / "s").rename(here / "t")
    mistyped = recover(capsys, here, "--confirm", "lab")
    assert (mistyped.code, "holds no journal" in mistyped.err) == (5, True)
    assert not (here / "s").exists()


def test_a_state_directory_that_cannot_be_looked_at_is_no_traceback(capsys: Capture, here: Path) -> None:
    (here / "s").rename(here / "t")
    (here / "s").symlink_to("n" * 256)
    outcome = recover(capsys, here, "--dry-run")
    assert (outcome.code, f"cannot look into `{here / 's'}`: file name too long" in outcome.err) == (5, True)


@pytest.mark.parametrize(
    ("own", "seeds", "places"),
    [
        ("10.0.1.1", ["10.0.1.1:7946", "10.0.1.2:7946", "10.0.1.3"], ["10.0.1.2:7947", "10.0.1.3:7947", "127.0.0.1:2"]),
        ("fd00::1", ["[fd00::1]:7946", "[fd00::2]:7946"], ["[fd00::2]:7947", "127.0.0.1:2"]),
    ],
)
def test_all_that_were_ever_met_are_asked_but_not_itself(
    here: Path, own: str, seeds: list[str], places: list[str]
) -> None:
    (here / "s" / "met.json").write_text(json.dumps(["127.0.0.1:1", f"{own}:7946"]))
    settings = {"CLUSTER_SEED_NODES": seeds, "CLUSTER_ADVERTISE_ADDRESS": own, "CLUSTER_PORT": 7946}
    assert _places(settings, here / "s") == places
