"""Each kind of check against the real thing: what passes, what fails and in which words, and that nothing is left."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mltbd.config.checks import CheckSpec
from mltbd.processes import MARK, marked
from mltbd.runtime import check_kinds
from mltbd.runtime.check_kinds import SWEEPS_MAX, Target, look, sweep
from tests.daemon import trees
from tests.daemon.guarded import state
from tests.waiting import until

PATIENCE_S = 30.0


def found(kind: str, target: Target | None = None, **fields: Any) -> str:
    """What is wrong, as this check sees it."""
    spec = CheckSpec(kind, kind, **({"timeout_s": PATIENCE_S} | fields))
    return asyncio.run(told(spec, target or Target(dict(os.environ), f"test.{os.getpid()}.")))


async def told(spec: CheckSpec, target: Target) -> str:
    """The words of a look that can tell."""
    said = await look(spec, target)
    assert said is not None
    return said


@contextmanager
def answering(*answers: bytes, hold: bool = False) -> Iterator[int]:
    """A server that gives each caller the next answer; with `hold` it then says nothing more and hangs up never."""
    server = socket.create_server(("127.0.0.1", 0))
    kept = []

    def serve() -> None:
        for answer in answers:
            caller, _ = server.accept()
            caller.settimeout(PATIENCE_S)
            kept.append(caller)
            caller.recv(65536)
            caller.sendall(answer)
            if not hold:
                caller.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        for caller in kept:
            caller.close()
        server.close()


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def test_tcp(closed_port: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert found("tcp", host="127.0.0.1", port=server.getsockname()[1]) == ""
        assert found("tcp", host="localhost", port=server.getsockname()[1]) == ""
    assert found("tcp", host="127.0.0.1", port=closed_port) == f"127.0.0.1:{closed_port}: connection refused"
    assert "cannot resolve `no.such.host.invalid`" in found("tcp", host="no.such.host.invalid", port=1)


def test_a_port_that_connects_to_itself_is_closed(monkeypatch: pytest.MonkeyPatch, closed_port: int) -> None:
    from_itself = functools.partial(asyncio.open_connection, local_addr=("127.0.0.1", closed_port))
    monkeypatch.setattr(asyncio, "open_connection", from_itself)
    assert found("tcp", host="127.0.0.1", port=closed_port) == f"127.0.0.1:{closed_port}: connection refused"


@pytest.mark.parametrize(
    ("answer", "fields", "trouble"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nall well", {}, ""),
        (b"HTTP/1.1 200 OK\r\n\r\nall well", {"body": "well"}, ""),
        (b"HTTP/1.1 200 OK\r\nX: well\r\n\r\nno", {"body": "well"}, "without the text"),
        (b"HTTP/1.1 503 Busy\r\n\r\n", {}, "status 503 instead of 200"),
        (b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n", {"status": 302}, ""),
        (b"SSH-2.0-x\r\n", {}, "does not speak HTTP"),
        (b"HTTP/1.1\r\n", {}, "does not speak HTTP"),
        (b"HTTP/1.1 " + b"9" * 99999, {}, "does not speak HTTP"),
        (b"", {}, "does not speak HTTP"),
    ],
)
def test_http(answer: bytes, fields: dict[str, Any], trouble: str) -> None:
    with answering(answer) as port:
        said = found("http", url=f"http://127.0.0.1:{port}/x?y=z", **({"status": 200} | fields))
    assert trouble in said
    assert bool(trouble) == bool(said)


def test_a_server_that_says_nothing_is_given_up() -> None:
    with answering(b"", hold=True) as port:
        assert found("http", url=f"http://127.0.0.1:{port}/", timeout_s=0.2) == "no answer within 0.2 s"


def test_a_server_that_keeps_the_connection_has_answered() -> None:
    with answering(*[b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nall well\n"] * 3, hold=True) as port:
        url = f"http://127.0.0.1:{port}/"
        assert found("http", url=url) == ""
        assert found("http", url=url, body="well") == ""
        assert found("http", url=url, body="well", status=204) == "status 200 instead of 204"


def test_https_does_not_trust_just_anybody() -> None:
    with answering(b"not TLS") as port:
        assert "tls" in found("http", url=f"https://127.0.0.1:{port}/").lower()
    assert ssl.create_default_context().verify_mode == ssl.CERT_REQUIRED


def test_command() -> None:
    assert found("command", argv=("true",)) == ""
    assert found("command", argv=("false",)) == "exited with status 1"
    script = "import sys; print('first\\nlast one', file=sys.stderr); sys.exit(3)"
    assert found("command", argv=(sys.executable, "-c", script)) == "exited with status 3: last one"
    assert "cannot run `/no/such`" in found("command", argv=("/no/such",))


def test_a_command_that_writes_without_end_is_read_and_its_end_kept() -> None:
    script = "import sys; sys.stderr.write('x' * 1000000 + '\\nend'); sys.exit(1)"
    assert found("command", argv=(sys.executable, "-c", script)) == "exited with status 1: end"


def test_a_command_is_told_what_its_target_is_told() -> None:
    argv = (sys.executable, "-c", "import os, sys; sys.exit(os.environ['MLTB_TOKEN'] != '12')")
    assert found("command", Target({"MLTB_TOKEN": "12"}, "test."), argv=argv) == ""


ESCAPES = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open(sys.argv[1], "w").write("x")
        time.sleep(600)
    os._exit(0)
time.sleep(600 if sys.argv[2] == "hang" else 0)
while not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize("how", ["hang", "end"])
def test_the_whole_tree_of_a_command_is_killed(how: str, tmp_path: Path) -> None:
    mark = f"test.{os.urandom(6).hex()}."
    argv = (sys.executable, "-c", ESCAPES, str(tmp_path / "escaped"), how)
    said = found("command", Target(dict(os.environ), mark), argv=argv, timeout_s=1.5 if how == "hang" else PATIENCE_S)
    assert said == ("no answer within 1.5 s" if how == "hang" else "")
    until(lambda: not marked(mark), what="nothing is left")


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_commands_of_a_daemon_that_died_are_swept_and_not_those_of_the_next_one() -> None:
    family = f"test.{os.urandom(6).hex()}."
    old, new = (
        subprocess.Popen(["sleep", "600"], env={**os.environ, MARK: f"{family}{run}.abc"}) for run in ("old", "new")
    )
    until(lambda: len(marked(family)) == 2)
    sweep(family, but=f"{family}new.")
    assert old.wait(PATIENCE_S) == -signal.SIGKILL
    assert [row.pid for row in marked(family)] == [new.pid]
    sweep(family)
    assert new.wait(PATIENCE_S) == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_process() -> None:
    child = subprocess.Popen(["sleep", "600"])
    try:
        target = Target({}, "test.", child.pid)
        assert found("process", target) == ""
        child.send_signal(signal.SIGSTOP)
        until(lambda: found("process", target) == f"process {child.pid} is stopped")
        child.kill()
        until(lambda: found("process", target) == f"process {child.pid} is dead")
    finally:
        child.kill()
        child.wait()
    assert found("process", target) == f"there is no process {child.pid}"


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_process_whose_first_thread_has_ended_is_not_dead_while_another_works(tmp_path: Path) -> None:
    with subprocess.Popen(trees.headless(tmp_path)) as child:
        try:
            until(lambda: state(child.pid) == "Z")
            assert found("process", Target({}, "test.", child.pid)) == ""
        finally:
            child.kill()


@pytest.mark.parametrize("left_behind", [False, True], ids=["no file yet", "file of an earlier run"])
def test_heartbeat(tmp_path: Path, left_behind: bool) -> None:
    beat = tmp_path / "beat"
    target = Target({}, "test.", beat_path=str(beat))
    spec = CheckSpec("heartbeat", "heartbeat", timeout_s=PATIENCE_S, max_age_s=50.0)

    def said() -> str | None:
        return asyncio.run(look(spec, target))

    def silent() -> bool:
        target.beat_at -= 60.0
        return str(said()).startswith("no heartbeat for 6")

    if left_behind:
        beat.touch()
    assert said() is None, "a run that has just begun is given time, but it is not well"
    assert silent()
    os.utime(beat, (2.0, 2.0)) if left_behind else beat.touch()
    assert said() == ""
    assert said() == ""
    assert silent()
    os.utime(beat, (1.0, 1.0))  # However wrong the clock: that it changed is what counts.
    assert said() == ""


def test_disk(tmp_path: Path) -> None:
    assert found("disk", path=str(tmp_path), min_free_percent=0.0) == ""
    assert "100 % are wanted" in found("disk", path=str(tmp_path), min_free_percent=100.0)
    assert found("disk", path=str(tmp_path / "none")) == "no such file or directory"


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_memory() -> None:
    assert found("memory", min_free_percent=0.0) == ""
    assert "100 % are wanted" in found("memory", min_free_percent=100.0)


def dead_mount(monkeypatch: pytest.MonkeyPatch, path: str) -> threading.Event:
    """No look at this path returns before the event is set."""
    thaw, statvfs = threading.Event(), os.statvfs

    def hangs(looked_at: str) -> os.statvfs_result:
        if looked_at == path:
            thaw.wait(PATIENCE_S)
        return statvfs(looked_at)

    monkeypatch.setattr(os, "statvfs", hangs)
    return thaw


def test_what_hangs_in_the_kernel_holds_one_thread_and_no_other_check(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    thaw = dead_mount(monkeypatch, str(tmp_path))
    spec = CheckSpec("disk", "disk", path=str(tmp_path), timeout_s=0.2, min_free_percent=0.0)
    before = threading.active_count()

    async def many() -> list[str]:
        return list(await asyncio.gather(*(told(spec, Target({}, "test.")) for _ in range(70))))

    try:
        for _ in range(2):
            assert set(asyncio.run(many())) == {"no answer within 0.2 s"}
        assert threading.active_count() <= before + 1
        assert found("command", argv=("true",)) == ""
        assert found("disk", path="/", min_free_percent=0.0) == ""
    finally:
        thaw.set()
    assert found("disk", path=str(tmp_path), min_free_percent=0.0) == ""


def test_looks_at_the_same_moment_share_an_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    thaw = dead_mount(monkeypatch, str(tmp_path))
    slow = CheckSpec("disk", "disk", path=str(tmp_path), timeout_s=PATIENCE_S, min_free_percent=0.0)

    async def both() -> tuple[str, str]:
        looks = [asyncio.ensure_future(told(slow, Target({}, "test."))) for _ in range(2)]
        hasty = await told(replace(slow, timeout_s=0.05), Target({}, "test."))
        thaw.set()
        return hasty, max(await asyncio.gather(*looks))

    assert asyncio.run(both()) == ("no answer within 0.05 s", ""), "who gives up takes it from nobody else"


def test_a_command_that_passed_has_passed_whatever_becomes_of_the_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    thaw = threading.Event()
    monkeypatch.setattr(check_kinds, "marked", lambda _: thaw.wait(PATIENCE_S) and [])
    try:
        for _ in range(SWEEPS_MAX + 2):
            assert found("command", argv=("true",), timeout_s=5.0) == ""
    finally:
        thaw.set()


def test_a_command_that_nobody_could_wait_for_is_not_begun(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    said = found("command", argv=("touch", str(tmp_path / "begun")))
    assert said == "cannot run `touch`: can't start new thread"
    monkeypatch.undo()
    assert found("command", argv=("true",)) == ""
    assert list(tmp_path.iterdir()) == []


def no_thread(_self: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_a_thread_that_cannot_be_had_is_said_and_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    assert found("disk", path="/") == "can't start new thread"
    monkeypatch.undo()
    assert found("disk", path="/", min_free_percent=0.0) == ""
