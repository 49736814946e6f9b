"""The SDK against a real control socket: every call, every failure, over the socket and over TCP."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mltb_transport.keys import new_secret
from mltbctl.client import (
    AsyncClient,
    AuthenticationFailed,
    Client,
    MltbError,
    NoQuorum,
    Refused,
    Timeout,
    UnknownOutcome,
    Unreachable,
)
from mltbctl.settings import NODES_MAX
from tests.mltbctl import pictures
from tests.mltbctl.fake_daemon import FakeDaemon, Refusal, Silence

Serve = Callable[..., FakeDaemon]


def failing(**body: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """An answer that is an error with this body."""

    def answer(_: dict[str, Any]) -> dict[str, Any]:
        raise Refusal(**body)

    return answer


def silent(_: dict[str, Any]) -> dict[str, Any]:
    """No answer."""
    raise Silence


def test_reading_calls(serve: Serve) -> None:
    daemon = serve(
        status=lambda _: pictures.healthy(),
        ping=lambda _: {"node": "n2", "version": "0.1.0"},
        operation=lambda params: {"id": params["id"], "state": "done"},
        **{"is": lambda params: {"answer": params["node"] == "n1", "reason": ""}},
    )
    with Client() as node:
        assert node.status() == pictures.healthy()
        assert [member["id"] for member in node.nodes()] == ["n1", "n2", "n3"]
        assert node.ping()["node"] == "n2"
        assert node.operation(7) == {"id": 7, "state": "done"}
        assert node.is_("leader", "n1") is True
        assert node.is_("leader", "n2") is False
        assert node.endpoints == (str(daemon.path),)


def test_a_survey_is_put_together_from_its_pages(serve: Serve) -> None:
    pages = {
        "": {"node": "n1", "facts": {"n1": {}}, "silent": {}, "clocks": {}, "last": "n1", "more": True},
        "n1": {"node": "n1", "facts": {"n2": None}, "silent": {"n2": "no"}, "clocks": {}, "last": "n2", "more": True},
        "n2": {"node": "n1", "facts": {"n3": {}}, "silent": {}, "clocks": {"n3": {}}, "last": "n3", "more": False},
    }
    serve(survey=lambda params: pages[params.get("after", "")] if params["quick"] else {})
    with Client() as node:
        assert node.survey(quick=True) == {
            "node": "n1", "facts": {"n1": {}, "n2": None, "n3": {}}, "silent": {"n2": "no"}, "clocks": {"n3": {}},
        }  # fmt: skip


def test_moving_calls_send_what_was_said_and_no_more(serve: Serve) -> None:
    def moved(_: dict[str, Any]) -> dict[str, Any]:
        return {"operation": 9}

    daemon = serve(failover=moved, switchover=moved, failback=moved, failback_cancel=lambda _: {})
    with Client() as node:
        assert node.failover() == {"operation": 9}
        node.failover("web", to="n3", reason="disk", dry_run=True)
        node.switchover("n2", reason="patch")
        node.switchover(to="n2", workload="web")
        node.failback()
        node.cancel_failback()
    assert daemon.calls == [
        ("failover", {"workload": "main", "reason": "", "dry_run": False}),
        ("failover", {"workload": "web", "to": "n3", "reason": "disk", "dry_run": True}),
        ("switchover", {"workload": "main", "to": "n2", "reason": "patch", "dry_run": False}),
        ("switchover", {"workload": "web", "to": "n2", "reason": "", "dry_run": False}),
        ("failback", {"workload": "main", "reason": "", "dry_run": False}),
        ("failback_cancel", {"workload": "main"}),
    ]


@pytest.mark.parametrize(
    ("code", "kind", "exit_code"),
    [
        ("no_quorum", NoQuorum, 5), ("refused", Refused, 5), ("auth", AuthenticationFailed, 4), ("timeout", Timeout, 6),
        ("failed", MltbError, 1), ("usage", MltbError, 2), ("unavailable", MltbError, 7), ("of_tomorrow", MltbError, 1),
    ],
)  # fmt: skip
def test_failures_keep_their_code(serve: Serve, code: str, kind: type[MltbError], exit_code: int) -> None:
    serve(failback=failing(code=code, message="no", hint="try `x`", candidates=[{"node": "n1"}]))
    with Client(timeout=0.3) as node, pytest.raises(MltbError) as caught:
        node.failback()
    error = caught.value
    assert type(error) is kind
    assert (error.code, error.exit_code, error.message, error.hint) == (code, exit_code, "no", "try `x`")
    assert error.details == {"candidates": [{"node": "n1"}]}


def test_what_was_not_done_for_the_moment_is_asked_again(serve: Serve) -> None:
    """Both say that nothing was done; every other answer is the answer, for a move must not be made twice."""
    left = ["unavailable", "no_quorum", "unavailable"]

    def later(_: dict[str, Any]) -> dict[str, Any]:
        if left:
            raise Refusal(code=left.pop(), message="leadership is changing hands", hint="try again")
        return {"operation": 7}

    daemon = serve(failover=later)
    with Client() as node:
        assert node.failover() == {"operation": 7}
    assert len(daemon.calls) == 4


def test_who_only_looks_does_not_wait_for_a_leader(serve: Serve) -> None:
    daemon = serve(simulate=failing(code="no_quorum", message="no"))
    with Client() as node, pytest.raises(NoQuorum):
        node.simulate("kill n1")
    assert len(daemon.calls) == 1


@pytest.mark.parametrize("code", ["refused", "unknown_outcome", "failed", "usage"])
def test_any_other_failure_is_the_answer(serve: Serve, code: str) -> None:
    daemon = serve(failover=failing(code=code, message="no"))
    with Client() as node, pytest.raises(MltbError):
        node.failover()
    assert len(daemon.calls) == 1


def test_no_answer_is_a_timeout_or_an_unknown_outcome(serve: Serve) -> None:
    serve(status=silent, failover=silent)
    with Client(timeout=0.2) as node:
        with pytest.raises(Timeout, match=r"0\.2 s"):
            node.status()
        with pytest.raises(UnknownOutcome, match="may still happen"):
            node.failover()


def test_no_daemon(runtime: Path) -> None:
    with Client() as node, pytest.raises(Unreachable, match="no mltbd found"):
        node.status()
    (runtime / "mltb").mkdir()
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(runtime / "mltb" / "n1.sock"))
    with Client() as node, pytest.raises(Unreachable, match="mltbd of `n1` does not run"):
        node.status()


def test_first_of_several_daemons_that_runs(serve: Serve, runtime: Path) -> None:
    serve("n3", status=lambda _: pictures.healthy("n3"))
    serve("n2", status=lambda _: pictures.healthy("n2"))
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(runtime / "mltb" / "n1.sock"))
    with Client() as node:
        assert node.status()["view"]["node"] == "n2"
        assert node.connected_to == str(runtime / "mltb" / "n2.sock")
        assert len(node.endpoints) == 2


def test_named_nodes_are_fall_backs(serve: Serve, runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = serve("n2", status=lambda _: pictures.healthy())
    with Client(str(runtime / "gone.sock"), str(daemon.path)) as node:
        assert node.status()["view"]["node"] == "n2"
    monkeypatch.setenv("MLTB_NODE", f"{runtime}/gone.sock {daemon.path}")
    with Client() as node:
        assert node.status()["view"]["node"] == "n2"
    monkeypatch.delenv("MLTB_NODE")
    monkeypatch.setenv("MLTB_SOCKET", str(runtime / "gone.sock"))
    with Client() as node, pytest.raises(Unreachable):
        node.status()


def test_over_tcp_with_the_secret(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = new_secret()
    port = serve("n2", secret, status=lambda _: pictures.healthy()).port
    with Client(f"127.0.0.1:{port}", secret=secret) as node:
        assert node.status()["view"]["node"] == "n2"
    with Client(f"127.0.0.1:{port}", secret=new_secret()) as node, pytest.raises(AuthenticationFailed):
        node.status()
    with Client(f"127.0.0.1:{port}", secret="hunter2") as node, pytest.raises(AuthenticationFailed) as caught:
        node.status()
    assert "hunter2" not in str(caught.value)
    monkeypatch.setenv("CLUSTER_SECRET", secret)
    with Client(f"127.0.0.1:{port}") as node:
        assert node.status()["view"]["node"] == "n2"


def test_member_by_id_is_asked_at_its_control_port(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secret = new_secret()
    picture = pictures.healthy()
    with FakeDaemon(tmp_path / "far.sock", {"status": lambda _: pictures.healthy("n3")}, secret) as far:
        picture["nodes"][2] |= {"address": "127.0.0.1", "port": far.port - 1}
        serve("n2", status=lambda _: picture)
        monkeypatch.setenv("CLUSTER_SECRET", secret)
        with Client("n3") as node:
            assert node.status()["view"]["node"] == "n3"
            assert node.endpoints == (f"127.0.0.1:{far.port}",)
        with Client("n2") as node:
            assert node.status()["view"]["node"] == "n2"
        with Client("n9") as node, pytest.raises(MltbError, match="`n9` is no member"):
            node.status()
        picture["nodes"][2] |= {"address": None, "port": None}
        with Client("n3") as node, pytest.raises(MltbError, match="nobody has met it") as caught:
            node.status()
        assert caught.value.code == "unreachable"


@pytest.mark.parametrize("variable", ["MLTB_SOCKET", "MLTB_NODE"])
def test_the_daemon_that_knows_the_member_may_be_named_by_the_environment(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    """As inside a workload: its own daemon, whichever others are in the runtime directory."""
    secret = new_secret()
    monkeypatch.setenv("CLUSTER_SECRET", secret)
    serve("n3", status=lambda _: pictures.healthy("stranger"))
    picture = pictures.healthy()
    near = tmp_path / "n2.sock"
    monkeypatch.setenv(variable, str(near) if variable == "MLTB_SOCKET" else f"10.0.0.1:7,ipc://{near}")
    with (
        FakeDaemon(tmp_path / "far", {"status": lambda _: pictures.healthy("n3")}, secret) as far,
        FakeDaemon(near, {"status": lambda _: picture}),
    ):
        picture["nodes"][2] |= {"address": "127.0.0.1", "port": far.port - 1}
        with Client("n3") as node:
            assert node.status()["view"]["node"] == "n3"
        with Client("n2") as node:
            node.status()
            assert node.endpoints == (str(near),)
        with FakeDaemon(tmp_path / "n3.sock", {"status": lambda _: pictures.healthy("n3")}), Client("n3") as node:
            node.status()
            assert node.endpoints == (str(tmp_path / "n3.sock"),)
    with Client("n3") as node:
        assert node.status()["view"]["node"] == "stranger", "what is named does not run"


def test_many_daemons_of_one_machine_do_not_hide_a_member(serve: Serve) -> None:
    for number in range(NODES_MAX + 1):
        serve(f"a{number:02}", status=lambda _: pictures.healthy())
    with Client("n9") as node, pytest.raises(MltbError, match="`n9` is no member"):
        node.status()


def test_line_is_opened_anew_after_close(serve: Serve) -> None:
    serve(ping=lambda _: {"node": "n2"})
    node = Client()
    assert node.ping() == {"node": "n2"}
    node.close()
    node.close()
    assert node.ping() == {"node": "n2"}
    node.close()


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e9, float("nan")])
def test_timeout_has_limits(seconds: float) -> None:
    with pytest.raises(ValueError, match="timeout"):
        Client(timeout=seconds)


def test_async_calls_leave_the_loop_alone(serve: Serve) -> None:
    reached, go = threading.Event(), threading.Event()

    def slow(_: dict[str, Any]) -> dict[str, Any]:
        reached.set()
        assert go.wait(5)
        return pictures.healthy()

    serve(
        status=slow,
        ping=lambda _: {"node": "n2"},
        failover=lambda _: {"operation": 1},
        switchover=lambda _: {"operation": 2},
        failback=failing(code="refused", message="no"),
        failback_cancel=lambda _: {},
        operation=lambda params: params,
        **{"is": lambda _: {"answer": None, "reason": ""}},
    )

    async def story() -> None:
        async with AsyncClient() as node:
            asked = asyncio.create_task(node.status())
            # The loop goes on while the call is under way: else this would wait for ever.
            assert await asyncio.to_thread(reached.wait, 5)
            go.set()
            assert (await asked)["view"]["node"] == "n2"
            assert [member["id"] for member in await node.nodes()] == ["n1", "n2", "n3"]
            assert await node.ping() == {"node": "n2"}
            assert await node.is_("leader") is None
            assert await node.operation(4) == {"id": 4}
            assert await node.failover(to="n3") == {"operation": 1}
            assert await node.switchover("n3") == {"operation": 2}
            await node.cancel_failback()
            with pytest.raises(Refused):
                await node.failback()

    asyncio.run(story())
