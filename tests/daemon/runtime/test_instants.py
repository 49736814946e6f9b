"""Instants as scripts read them."""

from __future__ import annotations

import pytest

from mltbd.runtime.instants import instant


def test_instants_are_rfc_3339_in_utc_and_never_is_none() -> None:
    assert (instant(0), instant(1_767_323_045_999)) == (None, "2026-01-02T03:04:05Z")
    assert instant(1_767_323_045_007, thousandths=True) == "2026-01-02T03:04:05.007Z"


@pytest.mark.parametrize("wall_ms", [2**62, -(2**62), 10**400, 253_402_300_800_000])
def test_what_no_calendar_holds_is_never(wall_ms: int) -> None:
    assert instant(wall_ms) is None
