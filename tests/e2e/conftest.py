"""The fixtures of the command line's tests: a runtime directory of one's own and an in-memory store."""

from __future__ import annotations

from tests.mltbctl.conftest import runtime, serve, store

__all__ = ["runtime", "serve", "store"]
