"""A cluster in one process that the tests of a module share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.daemon.runtime.live import Live


@pytest.fixture(scope="module")
def cluster_of_three() -> Iterator[Live]:
    with Live(3) as live:
        yield live


@pytest.fixture
def three(cluster_of_three: Live) -> Live:
    """Three nodes, led by n1, for whoever keeps to keys, locks and clients of its own. Between two tests their loop
    stands still: on a busy machine long enough for the leader to step down."""
    return cluster_of_three.formed()
