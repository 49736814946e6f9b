"""The word an operator may have meant."""

from __future__ import annotations

from mltbd.config.suggest import closest, did_you_mean


def test_a_near_word_is_found_whatever_its_case() -> None:
    assert closest("cluster_prt", ["CLUSTER_PORT", "CLUSTER_NAME"]) == "CLUSTER_PORT"
    assert did_you_mean("full-ha", ["full_ha"]) == "did you mean `full_ha`?"


def test_a_far_or_endless_word_is_left_alone() -> None:
    assert closest("zzz", ["CLUSTER_PORT"]) is None
    assert did_you_mean("x" * 1_000_000, ["CLUSTER_PORT"]) == ""
