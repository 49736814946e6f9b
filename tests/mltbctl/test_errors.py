"""Failures carry what a person and a script need."""

from __future__ import annotations

import pytest

from mltbctl import client, errors
from mltbctl.errors import EXIT_CODES, CliError, MltbError
from mltbctl.result import ExitCode


@pytest.mark.parametrize("code", sorted(EXIT_CODES))
def test_code_decides_the_exit_code(code: str) -> None:
    error = CliError("what", "next", code=code)
    assert (error.code, error.exit_code, error.message, error.hint, error.details) == (
        code, EXIT_CODES[code], "what", "next", {},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "exit_code"),
    [
        (errors.Unreachable, ExitCode.UNREACHABLE), (errors.AuthenticationFailed, ExitCode.AUTH),
        (errors.NoQuorum, ExitCode.REFUSED), (errors.Refused, ExitCode.REFUSED), (errors.Timeout, ExitCode.TIMEOUT),
        (errors.UnknownOutcome, ExitCode.TIMEOUT), (errors.CliError, ExitCode.FAILED),
    ],
)  # fmt: skip
def test_each_kind_has_its_exit_code(kind: type[MltbError], exit_code: ExitCode) -> None:
    assert kind("what").exit_code == exit_code
    assert issubclass(kind, MltbError)


def test_the_sdk_offers_every_kind_it_raises() -> None:
    for name in (
        "MltbError",
        "Unreachable",
        "NoQuorum",
        "Refused",
        "AuthenticationFailed",
        "Timeout",
        "UnknownOutcome",
    ):
        assert getattr(client, name) is getattr(errors, name)
        assert name in client.__all__
