"""The promises about workloads that are no singletons: everywhere at once, each node its own copy, never both forms."""

from __future__ import annotations

from mltbd.state.copies import family, home_of, is_copy
from tests.sim.history import Down, History, Up
from tests.sim.wrong import Wrong


def copies_at_home(history: History) -> None:
    """A copy lives on the node it is named after, and nowhere else; so no node ever has two."""
    for happening in history:
        if isinstance(happening, Up) and is_copy(happening.workload) and home_of(happening.workload) != happening.node:
            raise Wrong(f"`{happening.workload}` starts on {happening.node} at {happening.at:.4f}")


def once_or_everywhere(history: History) -> None:
    """While the singleton of a name lives, none of its copies does."""
    live: set[str] = set()
    for happening in history:
        if isinstance(happening, Up):
            name = happening.workload
            others = sorted(o for o in live if family(o) == family(name) and is_copy(o) != is_copy(name))
            if others:
                raise Wrong(f"`{name}` starts on {happening.node} at {happening.at:.4f} while `{others[0]}` lives")
            live.add(name)
        elif isinstance(happening, Down):
            live.discard(happening.workload)


def copies_everywhere(history: History, homes: tuple[str, ...]) -> None:
    """In the end each of these nodes runs its copy."""
    live: set[str] = set()
    for happening in history:
        if isinstance(happening, Up) and is_copy(happening.workload):
            live.add(happening.node)
        elif isinstance(happening, Down) and is_copy(happening.workload):
            live.discard(happening.node)
    missing = sorted(set(homes) - live)
    if missing:
        raise Wrong(f"no copy runs on {', '.join(missing)} in the end")
