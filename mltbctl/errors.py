"""Failures a person or a script is told about: what happened, the next command, a stable code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mltbctl.result import ExitCode

# The stable codes of the JSON error object, and the exit code each one ends the command with.
EXIT_CODES: dict[str, ExitCode] = {
    "failed": ExitCode.FAILED,
    "usage": ExitCode.USAGE,
    "cancelled": ExitCode.CANCELLED,
    "auth": ExitCode.AUTH,
    "no_quorum": ExitCode.REFUSED,
    "refused": ExitCode.REFUSED,
    "timeout": ExitCode.TIMEOUT,
    "unknown_outcome": ExitCode.TIMEOUT,
    "unreachable": ExitCode.UNREACHABLE,
    "unavailable": ExitCode.UNREACHABLE,
    "overloaded": ExitCode.UNREACHABLE,
    "full": ExitCode.REFUSED,
    "lock_not_acquired": ExitCode.FAILED,
    "lock_lost": ExitCode.REFUSED,
    "compacted": ExitCode.FAILED,
    "interrupted": ExitCode.INTERRUPTED,
}


class MltbError(Exception):
    """Every failure of the SDK and of the command line.

    `code` is one of EXIT_CODES, `hint` the next command to try or empty, `details` further keys of the JSON
    error object (`candidates`, `operation`).
    """

    code = "failed"

    def __init__(
        self, message: str, hint: str = "", *, code: str = "", details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code or type(self).code
        self.details: dict[str, Any] = dict(details or {})

    @property
    def exit_code(self) -> ExitCode:
        """How the command line ends with this failure; an unknown code of a newer daemon counts as failed."""
        return EXIT_CODES.get(self.code, ExitCode.FAILED)


class Unreachable(MltbError):
    """No daemon answered: none runs here, or none can be reached."""

    code = "unreachable"


class AuthenticationFailed(MltbError):
    """The daemon is there and does not accept this secret."""

    code = "auth"


class NoQuorum(MltbError):
    """Too few voters can talk to each other; nothing was changed."""

    code = "no_quorum"


class Refused(MltbError):
    """Not done, for safety. `details["candidates"]` holds the verdict on each node, where there is one."""

    code = "refused"


class Timeout(MltbError):
    """The time given ran out; what was asked only read, so nothing was changed."""

    code = "timeout"


class UnknownOutcome(MltbError):
    """No answer came after the request was sent: it may or may not have taken effect."""

    code = "unknown_outcome"


class LockNotAcquired(MltbError):
    """Somebody else holds the lock. `details["holder"]` says who."""

    code = "lock_not_acquired"


class LockLost(MltbError):
    """The lock is no longer ours: its time ran out unextended, or it was released by somebody else."""

    code = "lock_lost"


class Compacted(MltbError):
    """The changes after that revision are no longer kept. List, then watch from the list's revision."""

    code = "compacted"


class CliError(MltbError):
    """A mistake or refusal on the command line's own side: a wrong option, a declined confirmation."""
