"""Instants as scripts read them."""

from __future__ import annotations

from mltbd.runtime.instants import instant


def test_instants_are_rfc_3339_in_utc_and_never_is_none() -> None:
    assert (instant(0), instant(1_767_323_045_999)) == (None, "2026-01-02T03:04:05Z")
