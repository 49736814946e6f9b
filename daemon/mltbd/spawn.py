"""Fork and exec by hand: from the only thread, dying with its parent, with nothing inherited that is not meant."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from mltbd.processes import die_with_parent, read

NICE = -5
OOM_SCORE = "-1000"
ERROR_BYTES_MAX = 4096
_OOM_FILE = "/proc/self/oom_score_adj"


@dataclass(frozen=True, slots=True)
class Standing:
    """How the kernel favoured this process before it favoured itself; its children get this back."""

    nice: int
    oom_score: str | None

    @classmethod
    def raised(cls) -> Standing:
        """Asks the kernel to run the caller first and kill it last, as far as permitted."""
        before = cls(os.getpriority(os.PRIO_PROCESS, 0), None)
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, min(before.nice, NICE))
        try:
            score = read(_OOM_FILE).decode()
            _write(_OOM_FILE, OOM_SCORE)
        except OSError:
            return before
        return cls(before.nice, score)

    def restore(self) -> None:
        os.setpriority(os.PRIO_PROCESS, 0, self.nice)
        if self.oom_score is not None:
            _write(_OOM_FILE, self.oom_score)


def _write(path: str, text: str) -> None:
    with open(path, "wb", buffering=0) as file:
        file.write(text.encode())


@dataclass(frozen=True, slots=True)
class Command:
    """What to run. `env` is the whole environment; `cwd` None is the guard's."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str | None = None
    keep_fd: int | None = None
    """The one descriptor beside stdout and stderr that survives."""


def heed_signals() -> None:
    """Lets the caller see its children end, and hear what it is told: its parent may have left SIGCHLD ignored, or
    signals blocked, and both survive an exec."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def close_on_exec() -> None:
    """Marks whatever the caller was started with, beyond stdin, stdout and stderr, as not for its children."""
    for fd in open_fds():
        with contextlib.suppress(OSError):  # The one that listed the directory is closed by now.
            os.set_inheritable(fd, False)


def has_terminal() -> bool:
    """Whether this process belongs to a terminal: then SIGHUP means that it is gone."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


def open_fds() -> list[int]:
    """Every open descriptor above 2."""
    return [fd for name in os.listdir("/dev/fd") if (fd := int(name)) > 2]


def spawn(command: Command, error_fd: int, standing: Standing, adopt: Callable[[int], None] | None) -> int:
    """The pid of a new child in a session of its own, which dies with the caller. If it cannot run the command it
    writes why to `error_fd` and exits with 127. `adopt(0)` runs in it beforehand. OSError if there is no fork."""
    parent = os.getpid()
    # Blocked across the fork: until the child has reset them, our handlers would run there.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            _become(command, error_fd, standing, adopt, parent)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return pid


def reset_signals(disposition: signal.Handlers = signal.SIG_DFL) -> None:
    """In a forked child: forget the parent's handlers, and let signals in again."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError):  # The C library keeps two for itself.
            signal.signal(number, disposition)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _become(
    command: Command,
    error_fd: int,
    standing: Standing,
    adopt: Callable[[int], None] | None,
    parent: int,
) -> NoReturn:
    failed = f"cannot prepare `{command.argv[0]}`"
    try:
        die_with_parent(parent)
        reset_signals()
        os.setsid()
        if adopt:
            adopt(0)
        standing.restore()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        if command.keep_fd is not None:
            os.set_inheritable(command.keep_fd, True)
        if command.cwd is not None:
            failed = f"cannot enter `{command.cwd}`"
            os.chdir(command.cwd)
        failed = f"cannot run `{command.argv[0]}`"
        os.execvpe(command.argv[0], list(command.argv), dict(command.env))
    except (OSError, ValueError) as error:
        text = f"{failed}: {getattr(error, 'strerror', None) or error}\n".encode(errors="replace")
        os.write(error_fd, text[:ERROR_BYTES_MAX])
    finally:
        os._exit(127)
