"""Where each workload is placed, and the story of each move. Applied from the log: same entries, same state."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from mltb_transport.messages import (
    Abandon,
    CancelFailback,
    Entry,
    Grant,
    Move,
    Release,
    Settled,
    Started,
)
from mltb_transport.operations import Resume, Undrain
from mltb_transport.supervision import Hooked, Proven
from mltbd.state.copies import family, home_of, is_copy
from mltbd.state.dumps import row, rows, unrow

OPERATIONS_MAX = 256
WORKLOADS_MAX = 256
"""Copies count each: one workload on every node of a large cluster must fit."""
TRIED_MAX = 64


@dataclass(frozen=True, slots=True)
class Placement:
    """`owner` may run `workload` under `token`; an empty owner means that nobody may."""

    workload: str
    owner: str = ""
    token: int = 0
    since: int = 0  # wall milliseconds of the grant
    started: bool = False
    moving: int = 0  # id of the operation that moves it; 0 when none does
    attempts: int = 0  # owners in a row that gave it up as failed
    home: str = ""  # who ran it before the last move: where `failback` leads
    released: str = ""  # why nobody owns it: moved, leaving, failed, restarted, lost
    failback_cancelled: bool = False
    changed: int = 0  # index of the last entry that changed the owner or a move of it
    tried: str = ""  # who gave it up as failed since it last was well, in order, with blanks between
    proven: str = ""  # where it last was well
    retreated: bool = False  # it was sent back there after all others had failed
    hooked: int = 0  # number of the last report of a hook under this token
    why: str = ""  # what went wrong the last time it was given up as failed
    lease_s: float = 0.0  # by which its owner runs and all others wait, however they are configured; 0: as they are

    @property
    def failed_on(self) -> tuple[str, ...]:
        """Nodes that gave it up since it last was well."""
        return tuple(self.tried.split())

    @property
    def asked_to_move(self) -> bool:
        """An operation younger than the grant wants the owner to stop; a grant younger than it has fulfilled it."""
        return self.moving > self.token


@dataclass(frozen=True, slots=True)
class Operation:
    """One change of place. Stamps are wall milliseconds of the log entries, 0 until reached."""

    id: int
    workload: str
    cause: str
    source: str
    target: str
    reason: str
    asked: int
    released: int = 0
    granted: int = 0
    started: int = 0
    token: int = 0
    owner: str = ""
    error: str = ""

    @property
    def state(self) -> str:
        """running, done or failed."""
        if self.error:
            return "failed"
        return "done" if self.started else "running"


class Placements:
    """All placements and the last OPERATIONS_MAX operations. `apply` is the only way to change them."""

    def __init__(self) -> None:
        self.by_workload: dict[str, Placement] = {}
        self.operations: dict[int, Operation] = {}

    def get(self, workload: str) -> Placement:
        return self.by_workload.get(workload) or Placement(workload)

    def has_room_for(self, workload: str) -> bool:
        """Whether it could be placed at all, as far as the number of workloads goes."""
        return workload in self.by_workload or len(self.by_workload) < WORKLOADS_MAX

    def replaced(self, workload: str) -> bool:
        """It was a singleton, and copies of it have come in its place."""
        copied = any(is_copy(name) and family(name) == workload for name in self.by_workload)
        return copied and not self.get(workload).owner

    def operation_of(self, workload: str) -> Operation | None:
        """The operation that moves this workload now."""
        return self.operations.get(self.get(workload).moving)

    def dump(self) -> list[Any]:
        """In the order in which they came: it decides which operation is forgotten first."""
        return [[row(p) for p in self.by_workload.values()], [row(o) for o in self.operations.values()]]

    @classmethod
    def load(cls, dumped: list[Any]) -> Placements:
        """The inverse of `dump`. Raises ValueError for anything else."""
        found = rows(dumped, "placements")
        if len(found) != 2:
            raise ValueError("placements are a list of placements and one of operations")
        placements = cls()
        for each in rows(found[0], "placements"):
            placement = unrow(Placement, each)
            placements.by_workload[placement.workload] = placement
        for each in rows(found[1], "operations"):
            operation = unrow(Operation, each)
            placements.operations[operation.id] = operation
        return placements

    def apply(self, entry: Entry) -> None:
        """Deterministic: reads nothing but the entry and what was applied before it."""
        match entry.command:
            case Grant() as command:
                self._grant(entry, command)
            case Release() as command:
                self._release(entry, command)
            case Move() as command:
                self._move(entry, command)
            case Abandon() as command:
                self._abandon(entry, command)
            case Started() as command:
                self._started(entry, command)
            case Settled() as command:
                self._settled(command)
            case Proven() as command:
                self._proven(command)
            case Resume(_, "asked"):
                self._forgive_failed()
            case Undrain(node):
                self.forget_copies(node)
            case Hooked() as command:
                self._hooked(command)
            case CancelFailback() as command:
                self._put(replace(self.get(command.workload), failback_cancelled=True))
            case _:
                pass  # Founding and NoOp place nothing.

    def _put(self, placement: Placement) -> None:
        if not self.has_room_for(placement.workload):
            return  # Full: such a workload is never placed, so it never runs. Refused at the door as well.
        self.by_workload[placement.workload] = placement

    def forget_copies(self, node: str) -> None:
        """The node is no member any more, or begins anew: what failed there is tried again.

        A copy it may still run is forgotten with its lease.
        """
        for name, placement in list(self.by_workload.items()):
            if home_of(name) == node and not placement.owner:
                del self.by_workload[name]

    def _remember(self, operation: Operation) -> None:
        self.operations[operation.id] = operation
        while len(self.operations) > OPERATIONS_MAX:
            del self.operations[next(iter(self.operations))]

    def _grant(self, entry: Entry, command: Grant) -> None:
        before = self.get(command.workload)
        operation = self.operation_of(command.workload)
        # An operator's own choice stands against an automatic failback; a failback never does, nor does a drain.
        asked_for = before.asked_to_move and operation is not None and operation.cause not in ("failback", "drain")
        if operation is not None and operation.target != command.owner:
            self._remember(replace(operation, error=f"{command.owner} took over instead: {command.reason}"))
            operation = None
        if operation is None:
            # Not asked for by anybody: the grant itself is the operation (first placement, unplanned failover).
            operation = Operation(
                entry.index, command.workload, command.cause, before.owner or before.home, command.owner,
                command.reason, entry.wall,
            )  # fmt: skip
        self._remember(replace(operation, granted=entry.wall, token=entry.index, owner=command.owner))
        left = before.owner or before.home
        self._put(
            replace(
                before,
                owner=command.owner,
                token=entry.index,
                lease_s=command.lease_s,
                since=entry.wall,
                started=False,
                hooked=0,
                moving=operation.id,
                home=_home(before, command, left),
                released="",
                failback_cancelled=asked_for,
                changed=entry.index,
                retreated=before.retreated or (command.cause == "rollback" and before.released == "failed"),
            )
        )

    def _release(self, entry: Entry, command: Release) -> None:
        before = self.get(command.workload)
        if before.token != command.token or not before.owner:
            return  # A repeated or late release: the placement has moved on.
        failed = command.cause == "failed"
        operation = self.operation_of(command.workload)
        if operation is not None and operation.granted:
            # The operation had reached this owner: it ends here, and what follows is another one.
            self._remember(replace(operation, error=f"{before.owner} gave it up: {command.cause}"))
        elif operation is not None:
            self._remember(replace(operation, released=entry.wall))
        if is_copy(command.workload) and not failed:
            del self.by_workload[command.workload]  # It never moves: there is nothing to come back to.
            return
        self._put(
            replace(
                before,
                owner="",
                started=False,
                home=before.owner,
                released=command.cause,
                attempts=before.attempts + 1 if failed else before.attempts,
                tried=_with(before.tried, before.owner) if failed else before.tried,
                why=command.detail if failed else before.why,
                moving=0 if operation is None or operation.granted else operation.id,
                changed=entry.index,
            )
        )

    def _move(self, entry: Entry, command: Move) -> None:
        before = self.get(command.workload)
        operation = Operation(
            entry.index, command.workload, command.cause, before.owner or before.home, command.target,
            command.reason, entry.wall,
        )  # fmt: skip
        current = self.operation_of(command.workload)
        if before.token != command.token or 0 < command.at < before.changed:
            self._remember(replace(operation, error="the placement changed before the move began"))
            return
        if current is not None and current.state == "running" and not current.granted and command.over != current.id:
            self._remember(replace(operation, error=f"operation {current.id} moves it already"))
            return
        if current is not None and current.state == "running":
            self._remember(replace(current, error=f"superseded by operation {operation.id}"))
        self._remember(operation)
        self._put(replace(_forgiven(before), moving=operation.id, changed=entry.index))

    def _abandon(self, entry: Entry, command: Abandon) -> None:
        before = self.get(command.workload)
        operation = self.operations.get(command.operation)
        if before.moving != command.operation or operation is None:
            return
        self._remember(replace(operation, error=command.cause))
        self._put(replace(before, moving=0, changed=entry.index))

    def _started(self, entry: Entry, command: Started) -> None:
        before = self.get(command.workload)
        if before.token != command.token or not before.owner or before.started:
            return
        operation = self.operation_of(command.workload)
        if operation is not None and operation.token == command.token:
            self._remember(replace(operation, started=entry.wall))
            self._put(replace(before, started=True, moving=0))
            return
        self._put(replace(before, started=True))

    def _settled(self, command: Settled) -> None:
        before = self.get(command.workload)
        if before.token == command.token and before.owner:
            self._put(_forgiven(before))

    def _proven(self, command: Proven) -> None:
        before = self.get(command.workload)
        if before.token == command.token and before.owner:
            self._put(replace(before, proven=before.owner))

    def _forgive_failed(self) -> None:
        """An operator lets things go on: what was given up is tried again."""
        for placement in [each for each in self.by_workload.values() if not each.owner]:
            self._put(_forgiven(placement))

    def _hooked(self, command: Hooked) -> None:
        before = self.get(command.workload)
        if before.token == command.token and before.owner and command.number > before.hooked:
            self._put(replace(before, hooked=command.number))


def _forgiven(placement: Placement) -> Placement:
    """Earlier failures count no more: it runs well, or an operator has taken it in hand."""
    return replace(placement, attempts=0, tried="", retreated=False, why="")


def _with(tried: str, node: str) -> str:
    known = tried.split()
    return " ".join(known if node in known else [*known, node][-TRIED_MAX:])


def _home(before: Placement, grant: Grant, left: str) -> str:
    """Where a later failback leads: nowhere once a failback is done, else to who ran it before."""
    if grant.cause == "failback":
        return ""
    return before.home if grant.owner == left else left
