"""What SIGHUP does: reads the configuration anew, and takes over what can be taken over. A wrong one changes nothing.

Three kinds of options. IN_PLACE: taken over at once. WITH_GUARD: the guard or other nodes count on them for as long
as this guard lives, so they take a restart of the service. For all others the daemon ends and its guard starts the
next one; the workload runs on. A new command of a workload is used when it next starts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from mltbd.config.problem import errors
from mltbd.config.settings import Loaded
from mltbd.runtime import logs

IN_PLACE = frozenset({"HA_LOG_LEVEL", "HA_LOG_FORMAT", "HA_DEBUG_MODE"})
WITH_GUARD = frozenset(
    {"CLUSTER_ENABLED", "CLUSTER_NODE_ID", "CLUSTER_NAME", "CLUSTER_ADDRESS", "CLUSTER_ADVERTISE_ADDRESS"}
    | {"CLUSTER_PORT", "CLUSTER_ROLE", "CLUSTER_LEASE_DURATION", "the names of workloads"}
)
log = logging.getLogger("mltbd")


@dataclass(frozen=True, slots=True)
class Origin:
    """The configuration as it was read at the start, and the way to read it again."""

    loaded: Loaded
    again: Callable[[], Loaded]


def differing(old: Loaded, new: Loaded) -> list[str]:
    """What differs, by the names the operator knows."""
    options = [name for name in new.effective if old.effective[name].value != new.effective[name].value]
    checks = ({check for check in loaded.checks if not check.workload} for loaded in (old, new))
    options += sorted({f"check.{check.name}" for check in set.symmetric_difference(*checks)})
    before, after = ({workload.name: workload for workload in loaded.workloads} for loaded in (old, new))
    once, then = ({name for name, spec in specs.items() if spec.singleton} for specs in (before, after))
    if before.keys() != after.keys() or once != then:  # A copy has a name of its own.
        return [*options, "the names of workloads"]
    return options + [f"workload.{name}" for name in sorted(after) if before[name] != after[name]]


class Reloader:
    """`keep` hands the guard the content of the file; `anew` ends the daemon so that its guard starts the next one."""

    def __init__(self, source: Origin, keep: Callable[[bytes], None], anew: Callable[[], None]) -> None:
        self._source = source
        self._keep = keep
        self._anew = anew

    def reload(self) -> str:
        """Returns what was done, in words; they are logged as well."""
        try:
            new = self._source.again()
        except Exception as error:  # Whatever is wrong with it: this daemon has one that it can go on with.
            log.exception("the configuration cannot be read anew")
            return _told(logging.ERROR, f"nothing reloaded: {error}")
        if new.settings is None:
            for problem in errors(new.problems):
                log.error("%s: %s", problem.key, problem.message)
            return _told(logging.ERROR, "nothing reloaded: the configuration is invalid")
        changed = differing(self._source.loaded, new)
        if held := [name for name in changed if name in WITH_GUARD]:
            return _told(logging.ERROR, f"nothing reloaded: {', '.join(held)} can change in a restart only")
        self._keep(new.content)
        if others := [name for name in changed if name not in IN_PLACE]:
            self._anew()
            return _told(logging.INFO, f"{', '.join(others)} changed: the daemon starts anew, the workload runs on")
        logs.set_up(new.settings)
        self._source = Origin(new, self._source.again)
        return _told(logging.INFO, f"reloaded: {', '.join(changed) or 'nothing has changed'}")


def _told(level: int, text: str) -> str:
    log.log(level, "%s", text)
    return text
