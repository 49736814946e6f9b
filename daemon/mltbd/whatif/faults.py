"""What may be asked: `kill n1`, `stop n2`, `split n1 | n2 n3`, `cut n1 n2`. Text in, a checked fault out."""

from __future__ import annotations

from dataclasses import dataclass

FAULT_CHARS_MAX = 500
VERBS = {
    "kill": "kill NODE ...: their machines are lost",
    "stop": "stop NODE ...: mltbd is asked to stop there",
    "split": "split NODE ... | NODE ...: the network between the sides is lost",
    "cut": "cut NODE NODE: the line between these two is lost",
}
HINT = "mltbctl simulate --help"


class FaultError(ValueError):
    """What was asked makes no sense here; says why."""


@dataclass(frozen=True, slots=True)
class Fault:
    """`groups`: for split its sides, else one group of nodes."""

    verb: str
    groups: tuple[tuple[str, ...], ...]

    @property
    def nodes(self) -> tuple[str, ...]:
        return tuple(name for group in self.groups for name in group)

    @property
    def apart(self) -> list[tuple[str, str]]:
        """The pairs (from, to) between which nothing passes any more."""
        if self.verb == "cut":
            first, second = self.nodes
            return [(first, second), (second, first)]
        if self.verb != "split":
            return []
        return [
            (a, b) for mine in self.groups for theirs in self.groups if mine is not theirs for a in mine for b in theirs
        ]

    def __str__(self) -> str:
        return f"{self.verb} {' | '.join(' '.join(group) for group in self.groups)}"


def parse(text: str, names: tuple[str, ...], leader: str, owner: str) -> Fault:
    """`names` are the nodes there are; `leader` and `owner` may be named by their roles. Raises FaultError."""
    if len(text) > FAULT_CHARS_MAX:
        raise FaultError(f"more than {FAULT_CHARS_MAX} characters")
    words = text.split()
    if not words or words[0] not in VERBS:
        raise FaultError(f"`{text}` begins with none of {', '.join(VERBS)}")
    verb, rest = words[0], " ".join(words[1:]).replace("|", " | ").split(" | ")
    roles = {"leader": leader, "owner": owner, "primary": owner}
    groups = tuple(tuple(_node(word, names, roles) for word in side.replace("|", " ").split()) for side in rest)
    fault = Fault(verb, groups)
    if len(set(fault.nodes)) != len(fault.nodes):
        raise FaultError(f"`{text}` names a node twice")
    if verb == "split":
        _check_sides(fault, names)
    elif len(groups) != 1 or not groups[0] or (verb == "cut" and len(groups[0]) != 2):
        raise FaultError(f"use: {VERBS[verb]}")
    return fault


def _node(word: str, names: tuple[str, ...], roles: dict[str, str]) -> str:
    if word in names:
        return word
    if word in roles:
        if not roles[word]:
            raise FaultError(f"there is no {word} now")
        return roles[word]
    raise FaultError(f"no node `{word}` here, only {', '.join(names)}")


def _check_sides(fault: Fault, names: tuple[str, ...]) -> None:
    if len(fault.groups) < 2 or not all(fault.groups):
        raise FaultError(f"use: {VERBS['split']}")
    missing = [name for name in names if name not in fault.nodes]
    if missing:
        raise FaultError(f"{' and '.join(missing)} must be on one of the sides")
