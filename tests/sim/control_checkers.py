"""The promises to an operator who pauses the cluster or drains a node, judged from the log as it was applied."""

from __future__ import annotations

from collections.abc import Iterator

from mltb_transport.messages import Grant, Move
from mltb_transport.operations import Drain, Pause, Resume, Undrain
from tests.sim.history import Applied, History
from tests.sim.wrong import Wrong

BY_HAND = "asked for"
CLOCKS = 1e-3
"""Clocks differ by this share at the most."""


def _log(history: History) -> Iterator[Applied]:
    """Each entry once, in the order of the log, as it was first applied anywhere."""
    last = 0
    for happening in history:
        if isinstance(happening, Applied) and happening.entry.index == last + 1:
            last += 1
            yield happening


def pause_holds(history: History) -> None:
    """While paused a workload changes its node only where an operator sent it, or back to where it ran last."""
    paused = 0
    ran_on: dict[str, str] = {}
    sent_to: dict[str, set[str]] = {}
    for applied in _log(history):
        index, command = applied.entry.index, applied.entry.command
        match command:
            case Pause():
                paused = index
            case Resume(pause) if pause == paused:
                paused = 0
            case Move(workload, _, target, cause, reason):
                if paused and cause != "drain" and reason != BY_HAND:
                    raise Wrong(f"entry {index} moves `{workload}` to {target} ({cause}) during pause {paused}")
                sent_to.setdefault(workload, set()).add(target)
            case Grant(workload, owner, cause):
                allowed = {ran_on.get(workload, owner), *sent_to.pop(workload, ())}
                if paused and owner not in allowed:
                    raise Wrong(f"entry {index} gives `{workload}` to {owner} ({cause}) during pause {paused}")
                ran_on[workload] = owner


def pauses_last(history: History) -> None:
    """A pause that nobody ended lasted at least as long as was asked for."""
    began: dict[int, tuple[float, float]] = {}
    for applied in _log(history):
        match applied.entry.command:
            case Pause(seconds):
                began[applied.entry.index] = (applied.at, seconds)
            case Resume(pause, "expired"):
                at, seconds = began[pause]
                if not seconds or applied.at < at + seconds * (1 - CLOCKS):
                    raise Wrong(f"pause {pause} of {seconds:g} s began at {at:.3f} and expired at {applied.at:.3f}")


def drained_stay_empty(history: History) -> None:
    """Nothing is placed on a drained node."""
    drained: set[str] = set()
    for applied in _log(history):
        match applied.entry.command:
            case Drain(node):
                drained.add(node)
            case Undrain(node):
                drained.discard(node)
            case Grant(workload, owner) if owner in drained:
                raise Wrong(f"entry {applied.entry.index} gives `{workload}` to {owner}, which is drained")
