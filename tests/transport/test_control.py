"""Calls from outside: to a real bus by ipc and by TCP, with and without keys, and to nobody."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zmq

from mltb_transport import remote_peer
from mltb_transport.answers import result
from mltb_transport.calls import request
from mltb_transport.channel import Channel
from mltb_transport.control import ENDPOINTS_MAX, CallFailed, CallTimeout, Denied, Unreachable, connect
from mltb_transport.keys import Credential, Keyring, new_secret
from mltb_transport.limits import TEXT_CHARS_MAX
from mltb_transport.messages import Request
from mltb_transport.replies import failed, params_of, permitted, succeeded
from mltb_transport.wire import Delivery
from tests.transport.nodes import KEYS, LOOPBACK, Node, free_port, nodes, until

OTHER = Keyring.from_secret(new_secret())


class Caller:
    """A channel, and one call after the other through it."""

    def __init__(self, endpoints: list[str], credential: Credential | None, timeout_s: float) -> None:
        self.channel = Channel(connect(endpoints, credential, time.monotonic() + timeout_s))
        self.timeout_s = timeout_s

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.retire()

    def call(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        asked = request(method, params or {})
        assert self.channel.ask(asked, time.monotonic() + self.timeout_s)
        if asked.trouble is not None:
            raise asked.trouble
        if not asked.done:
            raise CallTimeout(method)
        return result(asked.answer)


def serve(node: Node) -> None:
    """Answers as a daemon would: `ping` with who asked, `silent` never, anything else with an error."""

    def answer(delivery: Delivery) -> None:
        request = delivery.frame.message
        assert isinstance(request, Request)
        assert delivery.route is not None
        if request.method == "silent":
            return
        if not permitted(delivery.role, request.method):
            response = failed(request.id, "auth", f"`{request.method}` needs the admin key")
        elif request.method == "ping":
            response = succeeded(request.id, {"role": delivery.role, "params": params_of(request)})
        elif request.method == "late":
            stale = succeeded(request.id - 1, {"answer": "to an earlier call"})
            node.bus.reply(delivery.route, b"\xc1 not a frame")
            node.bus.reply(delivery.route, node.outbound.seal(stale))
            response = succeeded(request.id, {"answer": "to this one"})
        else:
            response = failed(request.id, "no_quorum", "1 of 3 nodes answered", "run `mltbctl nodes`")
        node.bus.reply(delivery.route, node.outbound.seal(response))

    node.on_delivery = answer


def play(scene: Callable[[Node], Any], keys: Keyring | None = KEYS, local_path: str = "") -> Any:
    """Runs a blocking caller beside a serving node."""

    async def run() -> Any:
        async with nodes("n1", keys=keys, local_path=local_path) as (node,):
            serve(node)
            return await asyncio.to_thread(scene, node)

    return asyncio.run(run())


def call(endpoint: str, credential: Credential | None, method: str = "ping", timeout_s: float = 5.0) -> Any:
    with Caller([endpoint], credential, timeout_s) as caller:
        return caller.call(method, {"n": 1})


def remote(node: Node) -> str:
    return f"{LOOPBACK}:{node.port + 1}"


def test_a_local_call_needs_no_key_even_where_the_network_does(tmp_path: Path) -> None:
    path = str(tmp_path / "n1.sock")
    for keys in (None, KEYS):
        answer = play(lambda _: call(path, KEYS.credential("viewer")), keys, path)
        assert answer == {"role": "admin", "params": {"n": 1}}


def test_a_deadline_may_be_further_off_than_libzmq_counts(tmp_path: Path) -> None:
    path = str(tmp_path / "n1.sock")
    assert play(lambda _: call(path, None, timeout_s=1e9), None, path)["role"] == "admin"


@pytest.mark.parametrize("role", ["admin", "viewer"])
def test_a_remote_call_has_the_role_of_its_key(role: str) -> None:
    assert play(lambda node: call(remote(node), KEYS.credential(role)))["role"] == role


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads as Linux shows them")
def test_the_connections_of_a_process_share_one_thread() -> None:
    """Each with an own context would bring two threads."""

    def threads() -> int:
        return len(list(Path("/proc/self/task").iterdir()))

    def scene(node: Node) -> None:
        with contextlib.ExitStack() as opened:
            found = []
            for _ in range(8):
                opened.enter_context(Caller([remote(node)], KEYS.credential("admin"), 5.0)).call("ping")
                found.append(threads())
            assert found == [found[0]] * 8

    play(scene)


def test_what_one_connection_gives_back_leaves_the_others_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "n1.sock")

    def scene(_: Node) -> None:
        with Caller([path], None, 5.0) as first:
            with Caller([path], None, 5.0) as second:
                second.call("ping")
            assert first.call("ping")["role"] == "admin"

    play(scene, None, path)


def test_a_remote_call_to_an_open_node() -> None:
    assert play(lambda node: call(remote(node), None), keys=None)["role"] == "admin"


def test_a_host_name_works_too() -> None:
    assert play(lambda node: call(f"localhost:{node.port + 1}", None), keys=None)["role"] == "admin"


def test_an_error_comes_with_its_code_hint_and_body() -> None:
    def scene(node: Node) -> None:
        with pytest.raises(CallFailed, match="1 of 3 nodes answered") as caught:
            call(remote(node), KEYS.credential("admin"), "failover")
        assert (caught.value.code, caught.value.hint) == ("no_quorum", "run `mltbctl nodes`")
        assert caught.value.body["message"] == "1 of 3 nodes answered"
        with pytest.raises(CallFailed) as caught:
            call(remote(node), KEYS.credential("viewer"), "failover")
        assert caught.value.code == "auth"

    play(scene)


def test_answers_to_other_calls_and_noise_are_passed_over() -> None:
    assert play(lambda node: call(remote(node), KEYS.credential("admin"), "late")) == {"answer": "to this one"}


def test_one_connection_serves_many_calls() -> None:
    def scene(node: Node) -> None:
        with Caller([remote(node)], KEYS.credential("admin"), 5.0) as caller:
            for _ in range(50):
                assert caller.call("ping")["params"] == {}
            assert caller.channel.endpoint == remote(node)
            with pytest.raises(CallFailed):
                caller.call("failover")
            assert caller.call("ping")["role"] == "admin"

    play(scene)


@pytest.mark.parametrize(
    ("credential", "keys", "why"),
    [
        (None, KEYS, "is encrypted and needs the cluster secret"),
        (OTHER.credential("admin"), KEYS, "refuses the key"),
        (Credential("admin", OTHER.admin, KEYS.server.public), KEYS, "refuses the key"),
        (Credential("admin", KEYS.admin, OTHER.server.public), KEYS, "refuses the key"),
        (KEYS.credential("admin"), None, "refuses the key"),
    ],
    ids=["no key", "other cluster", "unknown key", "other server", "open server"],
)
def test_a_wrong_key_is_told_from_nobody_there(credential: Credential | None, keys: Keyring | None, why: str) -> None:
    def scene(node: Node) -> None:
        begin = time.monotonic()
        with pytest.raises(Denied, match=why):
            call(remote(node), credential)
        assert time.monotonic() - begin < 3

    play(scene, keys)


def test_nobody_there_is_said_at_once_and_why(tmp_path: Path) -> None:
    begin = time.monotonic()
    with pytest.raises(Unreachable, match="does not exist") as caught:
        call(str(tmp_path / "n1.sock"), None)
    assert "mltbd run" in caught.value.hint
    (tmp_path / "dead.sock").write_text("")
    with pytest.raises(Unreachable, match="nobody listens at"):
        call(str(tmp_path / "dead.sock"), None)
    with pytest.raises(Unreachable, match="nothing answers at"):
        call(f"{LOOPBACK}:{free_port()}", KEYS.credential("admin"))
    assert time.monotonic() - begin < 3


def test_a_daemon_that_hangs_is_not_told_as_one_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "n1.sock"
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()
        with pytest.raises(Unreachable, match="did not answer in time"):
            call(str(path), None, timeout_s=0.3)


def test_who_hangs_up_at_a_path_does_not_ask_for_a_key(tmp_path: Path) -> None:
    """As a daemon that is killed while it accepts: nothing was sent, and another try may find it well."""
    path = tmp_path / "n1.sock"
    with socket.socket(socket.AF_UNIX) as dying:
        dying.bind(str(path))
        dying.listen()

        def hang_up() -> None:
            with contextlib.suppress(OSError):
                while True:
                    dying.accept()[0].close()

        killer = threading.Thread(target=hang_up)
        killer.start()
        try:
            with pytest.raises(Unreachable, match="hangs up") as caught:
                call(str(path), None)
        finally:
            dying.shutdown(socket.SHUT_RDWR)
            killer.join()
    assert not caught.value.sent


def test_who_hangs_up_and_is_gone_did_not_refuse_the_key() -> None:
    """As a daemon that is killed while it shakes hands: its port is closed when we come back."""
    with socket.socket() as dying:
        dying.bind((LOOPBACK, 0))
        dying.listen()
        port = dying.getsockname()[1]

        def die() -> None:
            one, _ = dying.accept()
            dying.close()
            one.close()

        killer = threading.Thread(target=die)
        killer.start()
        with pytest.raises(Unreachable, match="nothing answers at"):
            call(f"{LOOPBACK}:{port}", KEYS.credential("admin"))
        killer.join()


def test_somebody_who_says_nothing_costs_no_more_than_the_timeout() -> None:
    with socket.socket() as silent:
        silent.bind((LOOPBACK, 0))
        silent.listen()
        begin = time.monotonic()
        with pytest.raises(Unreachable, match="nothing answers at"):
            call(f"{LOOPBACK}:{silent.getsockname()[1]}", None, timeout_s=0.2)
        assert 0.19 <= time.monotonic() - begin < 2  # Waits are whole milliseconds.


def test_the_first_endpoint_that_answers_is_taken(tmp_path: Path) -> None:
    def scene(node: Node) -> None:
        absent = [str(tmp_path / "absent.sock"), f"{LOOPBACK}:{free_port()}"]
        with Caller([*absent, remote(node)], KEYS.credential("admin"), 5.0) as caller:
            assert caller.call("ping")["role"] == "admin"
            assert caller.channel.endpoint == remote(node)
        with pytest.raises(Unreachable) as caught:
            Caller(absent, None, 5.0)
        assert "none of 2 endpoints answers" in caught.value.message
        assert all(endpoint in caught.value.message for endpoint in absent)
        with pytest.raises(Denied):
            Caller([*absent, remote(node)], None, 5.0)

    play(scene)


def test_no_answer_in_time() -> None:
    def scene(node: Node) -> None:
        begin = time.monotonic()
        with pytest.raises(CallTimeout):
            call(remote(node), KEYS.credential("admin"), "silent", timeout_s=0.2)
        assert 0.19 <= time.monotonic() - begin < 2  # Waits are whole milliseconds.

    play(scene)


def test_a_daemon_that_dies_during_the_call_is_noticed_before_the_timeout() -> None:
    async def run() -> None:
        async with nodes("n1") as (node,):
            asked: list[Delivery] = []
            node.on_delivery = asked.append
            credential = KEYS.credential("admin")
            pending = asyncio.create_task(asyncio.to_thread(call, remote(node), credential, "failover", 20.0))
            await until(lambda: asked)
            node.bus.close()
            begin = time.monotonic()
            with pytest.raises(Unreachable, match="was lost before the answer") as caught:
                await pending
            assert caught.value.sent
            assert time.monotonic() - begin < 5

    asyncio.run(run())


def test_a_socket_in_a_directory_of_another_user_is_not_said_to_be_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, stat = str(tmp_path / "n1.sock"), os.stat

    def refused(which: str) -> os.stat_result:
        if which == path:
            raise PermissionError(13, "Permission denied")
        return stat(which)

    monkeypatch.setattr(os, "stat", refused)
    with pytest.raises(Unreachable, match="is not open to this user"):
        connect([path], None, time.monotonic() + 1)


@pytest.mark.parametrize("endpoint", ["", "n1", "n1:", ":7947", "n1:port", "n1:0", "n1:65536"])
def test_an_endpoint_that_is_none_is_named(endpoint: str) -> None:
    with pytest.raises(CallFailed, match="is neither a socket path nor `host:port`") as caught:
        connect([endpoint], None, time.monotonic() + 1)
    assert caught.value.code == "usage"


@pytest.mark.parametrize("count", [0, ENDPOINTS_MAX + 1])
def test_endpoints_have_a_limit(count: int) -> None:
    with pytest.raises(CallFailed, match=f"1 to {ENDPOINTS_MAX} endpoints"):
        connect(["/x"] * count, None, time.monotonic() + 1)


def test_parameters_have_a_limit() -> None:
    with pytest.raises(CallFailed, match="are longer than"):
        request("ping", {"text": "x" * TEXT_CHARS_MAX})


def test_what_hinders_this_process_alone_is_unreachable_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many open files, say: whoever calls treats that as any other failure to connect."""

    def fail(*_: object) -> None:
        raise zmq.ZMQError(24)

    monkeypatch.setattr(remote_peer, "shared_context", fail)
    monkeypatch.setattr(socket, "socket", lambda *_: (_ for _ in ()).throw(OSError(24, "Too many open files")))
    for endpoint in ("/run/nowhere.sock", "127.0.0.1:1"):
        with pytest.raises(Unreachable, match="Too many open files"):
            connect([endpoint], None, time.monotonic() + 1)


def test_no_signal_reaches_a_thread_of_the_connection_before_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is held back by whoever holds a lock would end the process there, and leave the lock taken."""
    blocked = []

    class Fresh:
        def get(self, _: int) -> int:
            return 1

        def set(self, *_: int) -> None:
            pass

        def socket(self, _: int) -> Any:
            blocked.append(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
            return self

        def close(self) -> None:
            pass

    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    monkeypatch.setattr(zmq.Context, "instance", Fresh)
    remote_peer.shared_context()
    assert {signal.SIGTERM, signal.SIGINT, signal.SIGHUP} <= blocked[0]
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
