"""The same seed, the same dice."""

from __future__ import annotations

import pytest

from mltbd.core.ports import Entropy
from mltbd.runtime.entropy import SeededEntropy


def draws(entropy: Entropy) -> list[float | str]:
    return [entropy.uniform(1.0, 2.0) for _ in range(5)] + [entropy.choice(["a", "b", "c"]) for _ in range(20)]


def test_a_seed_repeats_and_another_differs() -> None:
    assert draws(SeededEntropy(4)) == draws(SeededEntropy(4))
    assert draws(SeededEntropy(4)) != draws(SeededEntropy(5))


def test_answers_are_within_what_was_asked() -> None:
    entropy = SeededEntropy(1)
    assert all(1.0 <= entropy.uniform(1.0, 2.0) <= 2.0 for _ in range(100))
    assert {entropy.choice("abc") for _ in range(100)} == set("abc")
    with pytest.raises(IndexError):
        entropy.choice([])
