"""Whole process trees: who belongs to one, and how to end it so that nothing is left. Standard library only.

A tree is held by up to three things: a cgroup (its cage), descent from the guard (orphans come back to it, since
it is a child subreaper) and a mark in the environment. Only the first cannot be slipped; all three are swept.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection

from mltbd.cages import Cage, Site, cage_name
from mltbd.processes import Process, boottime_s, descendants, has_mark, marked, process, processes, send, signal_group

SCANS_MAX = 8
"""Scans for newly forked processes within one round of the walk; the next round goes on."""
ROUND_S = 0.005


class Forest:
    """The trees of one guard: one prefix for their marks, one site for their cages (None: the walk alone).
    `kin` are the guard's children that belong to no tree."""

    def __init__(self, mark: str, site: Site | None) -> None:
        self.mark = mark
        self.site = site
        self.path = site.path if site else "walk"
        self.kin: set[int] = set()
        self.trees: list[Tree] = []
        self._planted = 0

    def plant(self) -> Tree:
        """A new tree with nothing in it. OSError when its cgroup cannot be made."""
        self._planted += 1
        mark = f"{self.mark}{self._planted:08d}"  # Of one length, so that no mark begins with another.
        cage = self.site.cage(mark) if self.site else None
        if cage:
            cage.create()
        tree = Tree(self, mark, cage)
        self.trees.append(tree)
        return tree


class Tree:
    """One run of a workload with all it ever forked. `root` is its first process until that is reaped."""

    def __init__(self, forest: Forest, mark: str, cage: Cage | None) -> None:
        self.mark = mark
        self.root: int | None = None
        self.helpers: set[int] = set()
        """Other children of the guard that belong to it, until they are reaped."""
        self._forest = forest
        self._cage = cage

    def adopt(self, pid: int) -> None:
        """For the forked child before it runs anything: enter the cage. 0 is the caller. OSError on failure."""
        if self._cage:
            self._cage.adopt(pid)

    def holds(self, pid: int) -> bool:
        """Whether this process is known to be of this tree by something other than descent."""
        return (
            pid == self.root
            or pid in self.helpers
            or has_mark(pid, self.mark)
            or bool(self._cage and pid in self._cage.pids())
        )

    def strays(self) -> list[Process]:
        """The root and the orphans that came back to the guard, with all below. An orphan that no other tree
        holds counts as ours: better one helper too many killed than one bot too many alive."""
        others = [tree for tree in self._forest.trees if tree is not self]
        table = processes()
        children = [row.pid for row in table if row.parent == os.getpid() and row.pid not in self._forest.kin]
        return descendants([pid for pid in children if not any(tree.holds(pid) for tree in others)], table)

    def strike(self) -> None:
        """SIGKILL for what can be reached at once: the root and its helpers, their groups and the cage."""
        for pid in [*([] if self.root is None else [self.root]), *self.helpers]:
            signal_group(pid, signal.SIGKILL)
        if self._cage:
            self._cage.kill()

    def kill(self) -> None:
        """One round of SIGKILL for all of it; does not wait. Call it, reaping in between, until `empty`."""
        self.strike()
        stopped: dict[int, Process] = {}
        for _ in range(SCANS_MAX):
            fresh = [row for row in [*self.strays(), *marked(self.mark)] if row.pid not in stopped]
            if not fresh:
                break
            for row in fresh:
                send(row, signal.SIGSTOP)  # What is stopped cannot fork away from the scan.
                stopped[row.pid] = row
        for row in stopped.values():
            send(row, signal.SIGKILL)

    def empty(self) -> bool:
        """Whether everything is dead and reaped."""
        if self.root is not None or self.helpers or (self._cage and not self._cage.empty()):
            return False
        return not self.strays() and not marked(self.mark)

    def close(self) -> None:
        """Forget the empty tree and remove its cgroup."""
        self._forest.trees.remove(self)
        if self._cage:
            self._cage.remove()


def clear(mark: str, directories: Collection[str], patience_s: float, also: Collection[Process] = ()) -> set[int]:
    """End every tree whose mark begins with `mark`, caged under one of these directories or not, and
    `also` these processes. For those who are not its parent. Returns the pids that still live after `patience_s`."""
    until = boottime_s() + patience_s
    while True:
        cages = [Cage.found(path) for directory in directories for path in _caged(directory, mark)]
        for cage in cages:
            cage.kill()
        # One by one as well: `cgroup.kill` ends no process whose first thread has ended.
        caged = [row for cage in cages for pid in cage.pids() if (row := process(pid)) is not None]
        left = [*marked(mark), *(row for row in also if row.lives())]
        for row in [*caged, *left]:
            send(row, signal.SIGKILL)
        full = [cage for cage in cages if not cage.empty()]  # It can be so for a moment after the last pid is gone.
        pids = {row.pid for row in left}.union(*(cage.pids() for cage in full))
        if not full and not pids:
            for cage in cages:
                cage.remove()
            return pids
        if boottime_s() >= until:
            return pids
        time.sleep(ROUND_S)


def _caged(directory: str, mark: str) -> list[str]:
    try:
        return [f"{directory}/{name}" for name in os.listdir(directory) if name.startswith(cage_name(mark))]
    except OSError:
        return []  # A site of this machine's that is no more, or never was ours to read.
