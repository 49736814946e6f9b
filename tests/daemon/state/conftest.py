"""What several modules here begin with."""

from __future__ import annotations

import pytest

from tests.daemon.state.store_kit import Story


@pytest.fixture
def story() -> Story:
    return Story()
