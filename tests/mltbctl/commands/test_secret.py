"""Secrets are made, located, and shown on request alone."""

from __future__ import annotations

import pytest

from mltb_transport.keys import check_secret, new_secret
from tests.mltbctl.terminal import run_here


@pytest.mark.usefixtures("runtime")
def test_new_prints_a_valid_secret_and_a_different_one_each_time(capsys: pytest.CaptureFixture[str]) -> None:
    secrets = [run_here(capsys, "secret", "new", "-q").out.strip() for _ in range(2)]
    for secret in secrets:
        check_secret(secret)
    assert secrets[0] != secrets[1]


@pytest.mark.usefixtures("runtime")
@pytest.mark.parametrize("form", ["plain", "json"])
def test_show_reveals_on_request_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    secret = new_secret()
    monkeypatch.setenv("CLUSTER_SECRET", secret)
    hidden = run_here(capsys, "secret", "show", "-o", form)
    shown = run_here(capsys, "secret", "show", "--reveal", "-o", form)
    assert (hidden.code, shown.code) == (0, 0)
    assert secret not in hidden.out + hidden.err
    assert "$CLUSTER_SECRET" in hidden.out
    assert secret in shown.out
