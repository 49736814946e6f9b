"""A story is worth what it notices: told with a bug planted under it, it must fail."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Plant = Callable[[pytest.MonkeyPatch], None]
Story = Callable[[], None]


def fails_without(plant: Plant, story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """The story holds, and does no more once its rule is broken."""
    story()
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        story()
