"""Cgroups as cages: where one can be made, how it is emptied, and a trial that shows it works here."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass

from mltbd.processes import LINUX, boottime_s, die_with_parent, process, read, send

PATHS = ("cgroup.kill", "freezer", "walk")
"""Ways to kill a tree, best first. The walk needs no cgroup."""
FREEZE_S = 0.02
"""How long one round of killing waits for a cgroup to freeze."""
PROBE_S = 1.0
"""How long a cage may take to end one idle process before it counts as unusable."""
_ABSENT = (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP)
"""A cgroup removed while we look, or a threaded one, whose processes its parent lists."""


class KillPathError(ValueError):
    """The kill path that was asked for does not exist or does not work here."""


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


@dataclass(frozen=True, slots=True)
class Cage:
    """One cgroup that holds one tree. `path` says how it kills. A directory that is gone counts as empty."""

    directory: str
    path: str

    @classmethod
    def found(cls, directory: str) -> Cage:
        """The cage somebody else left here, with the best way to kill it."""
        strong = os.path.exists(f"{directory}/cgroup.kill")
        return cls(directory, "cgroup.kill" if strong else "freezer")

    def create(self) -> None:
        """OSError where we may not."""
        os.mkdir(self.directory, 0o755)

    def adopt(self, pid: int) -> None:
        """Moves a process in; 0 is the caller. What it forks from then on is born inside."""
        _write(f"{self.directory}/cgroup.procs", str(pid))

    def pids(self) -> set[int]:
        """Everything inside, nested cgroups included. A member of a foreign pid namespace shows as 0."""
        found: set[int] = set()
        for directory, _, _ in os.walk(self.directory):
            try:
                found.update(int(line) for line in read(f"{directory}/cgroup.procs").split())
            except OSError as error:
                if error.errno not in _ABSENT:
                    raise
        return found

    def empty(self) -> bool:
        """Whether no process is alive inside; a zombie does not count in version 2."""
        try:
            return b"populated 0" in read(f"{self.directory}/cgroup.events")
        except OSError as error:
            if error.errno not in _ABSENT:
                raise
            return not self.pids()  # Version 1 has no such file.

    def kill(self) -> None:
        """One round; call it until `empty`. Takes little over `FREEZE_S`. Failure shows in `empty` alone."""
        try:
            if self.path == "cgroup.kill":
                _write(f"{self.directory}/cgroup.kill", "1")
            else:
                self._freeze_and_kill()
        except OSError:
            return  # The walk goes on without us, and nothing is called empty that is not.

    def _freeze_and_kill(self) -> None:
        second = os.path.exists(f"{self.directory}/cgroup.freeze")
        knob, on, off = ("cgroup.freeze", "1", "0") if second else ("freezer.state", "FROZEN", "THAWED")
        state, frozen = ("cgroup.events", b"frozen 1") if second else ("freezer.state", b"FROZEN")
        _write(f"{self.directory}/{knob}", on)
        try:
            until = boottime_s() + FREEZE_S
            while frozen not in read(f"{self.directory}/{state}") and boottime_s() < until:
                time.sleep(0.001)
            for pid in self.pids():
                member = process(pid) if pid else None
                if member is not None:
                    send(member, signal.SIGKILL)
        finally:
            _write(f"{self.directory}/{knob}", off)  # Version 1 delivers SIGKILL only to what is thawed.

    def remove(self) -> None:
        """Removes the empty cgroup and those made inside it. If it is not empty it stays for the next guard."""
        for directory, _, _ in os.walk(self.directory, topdown=False):
            try:
                os.rmdir(directory)
            except OSError:
                return


@dataclass(frozen=True, slots=True)
class Site:
    """A cgroup under which cages can be tried, and how they would kill."""

    directory: str
    path: str

    def cage(self, mark: str) -> Cage:
        return Cage(f"{self.directory}/{cage_name(mark)}", self.path)


def cage_name(mark: str) -> str:
    """The directory's name of the cage of the tree with this mark."""
    return f"mltb.{mark}"


def sites(mountinfo: str, own: str) -> list[Site]:
    """Where cages may be possible, best first, from the texts of `/proc/self/mountinfo` and `.../cgroup`."""
    places = {}
    for line in own.splitlines():
        number, controllers, place = line.split(":", 2)
        if number == "0":
            places["cgroup2"] = place
        elif "freezer" in controllers.split(","):
            places["cgroup"] = place
    found: dict[str, list[str]] = {"cgroup2": [], "cgroup": []}
    roots = []
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        root, point = left.split(" ")[3:5]
        kind, _, options = right.split(" ", 2)
        if kind not in places or (kind == "cgroup" and "freezer" not in options.split(",")):
            continue
        point = point.encode().decode("unicode_escape").encode("latin-1").decode(errors="surrogateescape")
        place = os.path.relpath(places[kind], root)
        if not place.startswith(".."):  # Else our own cgroup is outside of what this mount shows.
            found[kind].append(os.path.normpath(f"{point}/{place}"))
        if kind == "cgroup2":
            roots.append(point)
    second = list(dict.fromkeys([*found["cgroup2"], *roots]))
    return [
        *(Site(directory, "cgroup.kill") for directory in second),
        *(Site(directory, "freezer") for directory in [*second, *found["cgroup"]]),
    ]


def sites_here() -> list[Site]:
    """`sites` of the calling process."""
    if not LINUX:
        return []
    return sites(read("/proc/self/mountinfo").decode(errors="surrogateescape"), read("/proc/self/cgroup").decode())


def works(site: Site, mark: str) -> bool:
    """Whether a cage here really takes a process in and ends it, tried with one."""
    cage = site.cage(f"{mark}probe")
    parent = os.getpid()
    try:
        cage.create()
    except OSError:
        return False
    ready, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            die_with_parent(parent)
            cage.adopt(0)
            os.write(tell, b"1")
            signal.pause()
        finally:
            os._exit(1)
    os.close(tell)
    ended = False
    try:
        inside = os.read(ready, 1) == b"1"
        until = boottime_s() + PROBE_S
        while inside and not ended and boottime_s() < until:
            cage.kill()
            time.sleep(0.001)
            ended = os.waitpid(pid, os.WNOHANG)[0] == pid
    finally:
        os.close(ready)
        if not ended:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        cage.remove()
    return ended


def detect(mark: str, wanted: str | None = None, among: Iterable[Site] | None = None) -> Site | None:
    """The best site that works, by default of those here; None is the walk. `wanted` names one of PATHS and allows
    no other: KillPathError when it is unknown or does not work."""
    if wanted is not None and wanted not in PATHS:
        known = ", ".join(f"`{path}`" for path in PATHS)
        raise KillPathError(f"unknown kill path `{wanted}`: one of {known} is needed")
    if wanted == "walk":
        return None
    for site in sites_here() if among is None else among:
        if wanted in (None, site.path) and works(site, mark):
            return site
    if wanted is not None:
        raise KillPathError(f"kill path `{wanted}` does not work here: no cgroup we may create has it")
    return None
