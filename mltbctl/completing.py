"""Live values for shell completion, asked of the daemon with a short timeout. Never raises, never prints.

`nodes` and `config`: what the line that is completed says of --node and --config.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from mltbctl.errors import MltbError

if TYPE_CHECKING:
    from mltbctl.client import Client

COMPLETION_S = 0.4  # a person waits for this after pressing Tab
NAMES_MAX = 100
EVENTS_OFFERED_MAX = 20


def node_names(incomplete: str, nodes: Sequence[str] = (), config: str = "") -> list[str]:
    """The ids of the members that begin with `incomplete`; none when no daemon answers in time."""
    return _names(incomplete, lambda client: (str(node["id"]) for node in client.nodes()), nodes, config)


def workload_names(incomplete: str, nodes: Sequence[str] = (), config: str = "") -> list[str]:
    """The names of the workloads that may be moved: a copy stays on its node."""
    return _names(
        incomplete,
        lambda client: (w["name"] for w in client.status()["workloads"] if w.get("singleton", True)),
        nodes,
        config,
    )


def lock_names(incomplete: str, nodes: Sequence[str] = (), config: str = "") -> list[str]:
    """The names of the locks that are held now."""
    return _names(
        incomplete,
        lambda client: (lock["name"] for lock in client.locks.list(incomplete, stale=True)),
        nodes,
        config,
    )


def key_names(incomplete: str, nodes: Sequence[str] = (), config: str = "") -> list[str]:
    """The keys there are, as the daemon that is asked knows them."""
    return _names(
        incomplete,
        lambda client: (entry.key for entry in client.state.list(incomplete, stale=True, limit=NAMES_MAX)),
        nodes,
        config,
    )


def _names(incomplete: str, ask: Callable[[Client], Iterable[str]], nodes: Sequence[str], config: str) -> list[str]:
    from mltbctl.client import Client

    try:
        with Client(*nodes, timeout=COMPLETION_S, config=config) as client:
            names = list(ask(client))
    except (MltbError, OSError, KeyError, TypeError, ValueError):
        return []  # No completion is better than noise on the command line being typed.
    return sorted(name for name in names if name.startswith(incomplete))


def event_ids(incomplete: str, nodes: Sequence[str] = (), config: str = "") -> list[tuple[str, str]]:
    """The ids of the last events that begin with `incomplete`, youngest first, each with its sentence."""
    from mltbctl.client import Client

    try:
        with Client(*nodes, timeout=COMPLETION_S, config=config) as client:
            told = [
                (str(event["id"]), str(event["text"])) for event in client.events(newest=EVENTS_OFFERED_MAX)["events"]
            ]
    except (MltbError, OSError, KeyError, TypeError):
        return []
    offered = [("last", "the last that mattered"), *reversed(told)]
    return [(name, words) for name, words in offered if name.startswith(incomplete)]
