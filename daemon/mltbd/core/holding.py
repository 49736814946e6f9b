"""What operators hold still: the end of a pause, and requests to pause, resume, drain and undrain, judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mltb_transport.messages import Entry
from mltb_transport.operations import Drain, Pause, Resume, Undrain
from mltbd.core.events import Ask
from mltbd.core.failover import Facts
from mltbd.core.operator import Verdict
from mltbd.state.controls import DRAINED_MAX, Controls
from mltbd.state.copies import is_copy

PAUSE_MAX_S = 30 * 86_400.0
CONTROLS = (Pause, Resume, Drain, Undrain)
CONTROL_VERBS = ("pause", "resume", "drain", "undrain")


class Watch:
    """When this node saw the controls change, on its own clock. Kept by every node, so that the next leader knows.

    A daemon that starts anew counts from its start: a pause may last longer than asked for, never shorter.
    """

    def __init__(self, now: float) -> None:
        self._index = 0
        self._paused = (0, now)  # index of the pause, since when we know it
        self.changed_at = float("-inf")
        """Since then automatic failbacks count anew: whoever resumes or undrains has time to look."""

    def look(self, controls: Controls, now: float, *, fresh: bool) -> None:
        """After every entry. `fresh`: it happened in the life of this daemon."""
        if controls.changed == self._index:
            return
        self._index = controls.changed
        if fresh:
            self.changed_at = now
        if controls.paused is not None and controls.paused.index != self._paused[0]:
            self._paused = (controls.paused.index, now)

    def ends_at(self, controls: Controls) -> float:
        """When the pause in force is over; infinite when it lasts until resumed, or there is none."""
        paused = controls.paused
        if paused is None or not paused.seconds:
            return float("inf")
        return self._paused[1] + paused.seconds

    def expired(self, controls: Controls, now: float) -> Resume | None:
        """The entry that ends a pause whose time is over."""
        if controls.paused is None or now < self.ends_at(controls):
            return None
        return Resume(controls.paused.index, "expired")


def pending_control(entries: Sequence[Entry]) -> bool:
    """Whether a change of the controls is in the log but not yet in the state: until it is, nothing is decided."""
    return any(isinstance(entry.command, CONTROLS) for entry in entries)


def judge_control(ask: Ask, controls: Controls, known: Sequence[str], places: Mapping[str, Facts]) -> Verdict:
    """The decision on one such request. `known`: all nodes; `places`: the facts of every workload."""
    match ask.verb:
        case "pause":
            return _pause(ask)
        case "resume":
            if controls.paused is None:
                return Verdict(message="the cluster is not paused")
            return Verdict(Resume(controls.paused.index, "asked", ask.operator), message="automatic moves are on")
        case "drain":
            return _drain(ask, controls, known, places)
        case "undrain":
            if ask.target not in controls.drained:
                return _unless_known(ask, known, f"{ask.target} is not drained")
            return Verdict(
                Undrain(ask.target, ask.operator), ask.target, message=f"{ask.target} may be given workloads"
            )
    return Verdict(code="usage", message=f"unknown request `{ask.verb}`", hint="mltbctl --help")


def _pause(ask: Ask) -> Verdict:
    if not 0 <= ask.seconds <= PAUSE_MAX_S:
        why = f"a pause lasts at most {PAUSE_MAX_S / 86_400:g} days, or until resumed"
        return Verdict(code="usage", message=why, hint="mltbctl pause --for 30m")
    return Verdict(Pause(ask.seconds, ask.operator, ask.reason), message="no automatic moves")


def _drain(ask: Ask, controls: Controls, known: Sequence[str], places: Mapping[str, Facts]) -> Verdict:
    node = ask.target
    if node in controls.drained:
        return Verdict(target=node, message=f"{node} is drained already")
    if node not in known:
        return _unless_known(ask, known, "")
    if len(controls.drained) >= DRAINED_MAX:
        return Verdict(code="refused", message=f"{DRAINED_MAX} nodes are drained already", hint="mltbctl nodes")
    stuck = stuck_on(node, places)
    if stuck and not ask.force:
        names = ", ".join(f"`{name}`" for name in stuck)
        why = f"{node} is the last node that can run {names}"
        return Verdict(code="refused", message=why, hint=f"mltbctl node drain {node} --force, it then runs on there")
    stays = f"; {', '.join(f'`{name}`' for name in stuck)} runs on there until another node can take it"
    return Verdict(Drain(node, ask.operator, ask.reason), node, message=f"{node} is drained{stays if stuck else ''}")


def stuck_on(node: str, places: Mapping[str, Facts]) -> list[str]:
    """The singletons that only this node could run."""
    found = []
    for name, facts in sorted(places.items()):
        if is_copy(name):
            continue  # It stops with its node, as agreed.
        able = [c.node for c in facts.candidates if c.eligible]
        owned = facts.placement.owner == node
        if (owned or able == [node]) and not [other for other in able if other != node]:
            found.append(name)
    return found


def _unless_known(ask: Ask, known: Sequence[str], otherwise: str) -> Verdict:
    if ask.target in known:
        return Verdict(target=ask.target, message=otherwise)
    listed = ", ".join(known)
    return Verdict(code="usage", message=f"no node `{ask.target}` here, only {listed}", hint="mltbctl nodes")
