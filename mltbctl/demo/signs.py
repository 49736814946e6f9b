"""What survivors showed after a machine died, and when: that they noticed, elected, and placed the bot anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mltbctl.demo.timeline import Timeline
from mltbctl.demo.watch import UP, Picture, Watch


@dataclass(slots=True)
class Signs:
    """Looks at what the survivors said since `at_ns`, when `victim` was killed; `before` was the picture then."""

    watch: Watch
    survivors: Sequence[str]
    before: Picture
    victim: str
    at_ns: int
    _told: set[str] = field(default_factory=set)

    def noticed(self) -> int | None:
        """When one first showed that something is wrong, in ns; None if none did yet. So for the others below."""
        return self.watch.first(self.at_ns, self.survivors, self._is_sign)

    def elected(self) -> int | None:
        """When one first named a new leader. None also if the leader lives."""
        if self.victim != self.before.leader:
            return None
        return self.watch.first(self.at_ns, self.survivors, lambda picture: picture.leader not in (None, self.victim))

    def granted(self) -> int | None:
        """When one first said that the bot is placed anew."""
        return self.watch.first(self.at_ns, self.survivors, lambda picture: picture.token > self.before.token)

    def tell(self, timeline: Timeline) -> None:
        """Says what is new since the last time."""
        pictures = self.watch.pictures(self.at_ns, self.survivors).values()
        leader = next((picture.leader for picture in pictures if picture.leader), "somebody")
        owner = next((picture.owner for picture in pictures if picture.token > self.before.token), "somebody")
        for name, at_ns, text in (
            ("noticed", self.noticed(), "the others noticed"),
            ("elected", self.elected(), f"{leader} leads"),
            ("granted", self.granted(), f"the lease of {self.before.owner} is over, {owner} may start the bot"),
        ):
            if at_ns is not None and name not in self._told:
                self._told.add(name)
                timeline.say(f"{text}, {seconds(self.at_ns, at_ns):.2f} s after the kill")

    def _is_sign(self, picture: Picture) -> bool:
        same = (picture.leader, picture.owner) == (self.before.leader, self.before.owner)
        return not same or picture.workload != "RUNNING" or picture.state_of(self.victim) not in UP


def phases(names: Sequence[str], marks: Sequence[int | None]) -> dict[str, float]:
    """The seconds between marks that follow each other. What was not seen takes none, and none is negative."""
    found: dict[str, float] = {}
    last = marks[0] or 0
    end = max(mark for mark in marks if mark is not None)
    for name, mark in zip(names, marks[1:], strict=True):
        reached = min(max(mark or last, last), end)
        found[name] = seconds(last, reached)
        last = reached
    return found


def seconds(from_ns: int, to_ns: int) -> float:
    """The seconds from one instant to another."""
    return (to_ns - from_ns) / 1e9
