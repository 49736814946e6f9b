"""Yes, no, cannot tell; and waiting for yes, even for a daemon that does not run yet."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mltbctl.cli import Root, app
from mltbctl.client import Client
from mltbctl.commands.predicates import is_, seen, wait
from mltbctl.errors import AuthenticationFailed, CliError
from tests.mltbctl import pictures
from tests.mltbctl.fake_daemon import FakeDaemon, Refusal
from tests.mltbctl.terminal import DEADLINE_S, environment

Serve = Callable[..., FakeDaemon]


@pytest.mark.parametrize(
    ("picture", "what", "expected"),
    [
        (pictures.healthy(), "leader", (True, "n1 leads")),
        (pictures.no_quorum(), "leader", (False, "no leader")),
        (pictures.healthy(), "healthy", (True, "the cluster is healthy")),
        (pictures.unreachable_node(), "healthy", (False, "the cluster is degraded")),
        (pictures.healthy(), "primary", (True, "`main` runs on n1")),
        (pictures.failing_over(), "primary", (False, "`main` does not run")),
        (pictures.failed_workload(), "primary", (False, "`web`, `jobs` does not run")),
        (pictures.forming(), "primary", (False, "no workload is configured")),
    ],
)
def test_seen(picture: dict[str, Any], what: str, expected: tuple[bool, str]) -> None:
    assert seen(picture, what) == expected


@pytest.mark.parametrize(("answer", "code", "word"), [(True, 0, "true"), (False, 1, "false"), (None, 5, "unknown")])
def test_is(serve: Serve, answer: bool | None, code: int, word: str) -> None:
    serve(**{"is": lambda _: {"answer": answer, "reason": "so"}})
    with Client() as client:
        result = is_(client, "leader", "n1")
    assert (result.exit_code, result.text, result.data["reason"]) == (code, word, "so")


@pytest.mark.parametrize("quiet", [(), ("-q",)])
@pytest.mark.parametrize("answer", [{}, Refusal(code="failed", message="no"), Refusal(code="auth", message="no")])
def test_what_failed_is_no_answer(serve: Serve, answer: Any, quiet: tuple[str, ...]) -> None:
    """Exit code 1 would be one: `no`."""

    def say(_: dict[str, Any]) -> dict[str, Any]:
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)

    serve(**{"is": say})
    with pytest.raises(SystemExit) as caught:
        app(["is", "leader", *quiet])
    assert caught.value.code == (4 if answer and answer.body["code"] == "auth" else 7)


def test_a_failure_that_cannot_be_told_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(Root, "_run", broken)
    with pytest.raises(SystemExit) as caught:
        app(["is", "leader"])
    assert caught.value.code == 7
    with pytest.raises(OSError, match="Too many"):
        app(["status"])


def test_wait_goes_on_until_it_is_so(serve: Serve) -> None:
    looks = iter([pictures.no_quorum(), pictures.no_quorum(), pictures.healthy()])
    daemon = serve(status=lambda _: next(looks))
    with Client() as client:
        assert wait(client, "leader", None, 10.0).data["answer"] is True
    assert len(daemon.calls) == 3


def test_wait_for_a_node_asks_about_that_node(serve: Serve) -> None:
    daemon = serve(**{"is": lambda _: {"answer": True, "reason": "so"}})
    with Client() as client:
        wait(client, "primary", "n3", 1.0)
    assert daemon.calls == [("is", {"what": "primary", "node": "n3"})]


def test_wait_gives_up_in_time_and_says_why(serve: Serve) -> None:
    serve(status=lambda _: pictures.no_quorum())
    with Client() as client, pytest.raises(CliError, match=r"not leader within 0\.1 s: no leader") as caught:
        wait(client, "leader", None, 0.1)
    assert caught.value.code == "timeout"


def test_wait_does_not_wait_for_a_wrong_secret(serve: Serve) -> None:
    def denied(_: dict[str, Any]) -> dict[str, Any]:
        raise Refusal(code="auth", message="no")

    serve(status=denied)
    with Client() as client, pytest.raises(AuthenticationFailed):
        wait(client, "leader", None, None)


def test_wait_for_a_daemon_that_is_not_there_yet(runtime: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "mltbctl", "wait", "leader"],
        env=environment(MLTB_RUNTIME_DIR=str(runtime)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    with FakeDaemon(runtime / "mltb" / "n2.sock", {"status": lambda _: pictures.healthy()}):
        out, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, err) == (0, b"")
    assert out.startswith(b"n1 leads")
