"""Live values for shell completion, asked of the daemon with a short timeout. Never raises, never prints."""

from __future__ import annotations

from mltbctl.errors import MltbError

COMPLETION_S = 0.4  # a person waits for this after pressing Tab


def node_names(incomplete: str) -> list[str]:
    """The ids of the members that begin with `incomplete`; none when no daemon answers in time."""
    names = (node.get("id") for node in _members())
    return sorted(name for name in names if isinstance(name, str) and name.startswith(incomplete))


def _members() -> list[dict[str, object]]:
    from mltbctl.client import Client

    try:
        with Client(timeout=COMPLETION_S) as client:
            return client.nodes()
    except (MltbError, OSError, KeyError, TypeError):
        return []  # No completion is better than noise on the command line being typed.
