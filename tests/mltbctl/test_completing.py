"""Completion of node names: from the daemon, in time or not at all."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from mltbctl.completing import COMPLETION_S, node_names, workload_names
from tests.mltbctl import pictures
from tests.mltbctl.fake_daemon import FakeDaemon, Refusal, Silence
from tests.mltbctl.terminal import environment, run_here, run_process

Serve = Callable[..., FakeDaemon]


def silent(_: dict[str, Any]) -> dict[str, Any]:
    raise Silence


def refusing(_: dict[str, Any]) -> dict[str, Any]:
    raise Refusal(code="auth", message="no")


def test_names_that_begin_so(serve: Serve) -> None:
    serve(status=lambda _: pictures.with_witness())
    assert node_names("") == ["n1", "n2", "w1"]
    assert node_names("w") == ["w1"]
    assert node_names("x") == []


def test_workloads_that_may_be_moved(serve: Serve) -> None:
    picture = pictures.healthy()
    copy = {**picture["workloads"][0], "name": "web@n1", "singleton": False}
    serve(status=lambda _: {**picture, "workloads": [*picture["workloads"], copy]})
    assert workload_names("") == ["main"]
    assert workload_names("w") == []


@pytest.mark.parametrize("answer", [silent, refusing, lambda _: {}, lambda _: {"nodes": 7}, lambda _: {"nodes": [{}]}])
def test_nothing_rather_than_noise(serve: Serve, answer: Any, capfd: pytest.CaptureFixture[str]) -> None:
    serve(status=answer)
    assert node_names("") == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("runtime")
def test_no_daemon_no_names() -> None:
    assert node_names("") == []
    assert COMPLETION_S <= 0.5


def test_the_shell_gets_them(serve: Serve, runtime: Path) -> None:
    serve(status=lambda _: pictures.healthy())
    asked = {
        "_MLTBCTL_COMPLETE": "complete_bash",
        "COMP_WORDS": "mltbctl switchover --to ",
        "COMP_CWORD": "3",
    }
    outcome = run_process(environ=environment(MLTB_RUNTIME_DIR=str(runtime), **asked))
    assert outcome.out.split() == ["n1", "n2", "n3"]
    commands = run_process(environ=environment(**(asked | {"COMP_WORDS": "mltbctl fail", "COMP_CWORD": "1"})))
    assert commands.out.split() == ["failover", "failback"]


@pytest.mark.parametrize("option", ["--show-completion", "--install-completion"])
@pytest.mark.parametrize(
    ("shell", "why"), [("tcsh", "there is no completion for `tcsh`"), ("", "it cannot be told which shell this is")]
)
def test_a_shell_without_completion(
    option: str, shell: str, why: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shellingham = import_module("shellingham")  # It has no types.

    def detected() -> tuple[str, str]:
        if not shell:
            raise shellingham.ShellDetectionFailure
        return shell, f"/bin/{shell}"

    monkeypatch.setattr(shellingham, "detect_shell", detected)
    outcome = run_here(capsys, option)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == f"error: {why}\n\nhint: run it in one of bash, zsh, fish, powershell, pwsh\n"
