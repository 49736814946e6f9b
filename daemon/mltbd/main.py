"""`mltbd`: run a node. `run` is the guard, which starts `daemon` as its child; see guard.py and runtime/daemon.py.

Standard library at the top: the guard stays small, and `mltbd --help` fast.
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mltb_transport.limits import RELEASE
from mltbd.say import write

if TYPE_CHECKING:
    from mltbd.config.settings import Loaded

EXIT_CONFIG = 2


def main(arguments: list[str] | None = None) -> int:
    """The entry point of the executable. Returns its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    parser = _parser()
    if not given:
        parser.print_help()
        return 0
    options = parser.parse_args(given)
    if options.version:
        print(f"mltbd {RELEASE}")
        return 0
    _open_standard()
    if options.command == "daemon":
        code = _daemon(options)
        _forget_unwritten()
        return code
    if options.command == "run":
        return _guard(options, given[given.index("run") + 1 :])
    parser.print_help()
    return EXIT_CONFIG


def _open_standard() -> None:
    """Whatever of stdin, stdout and stderr is closed becomes /dev/null. Else the next file to be opened would be it,
    and get what is written there; and uvloop aborts where it closes one."""
    with suppress(OSError):  # No /dev/null, or no descriptor: then as before.
        while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
            os.set_inheritable(number, True)
        os.close(number)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mltbd",
        description="One node of a cluster that runs a process on exactly one machine.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    run = commands.add_parser("run", help="run this node in the foreground", allow_abbrev=False)
    hidden = commands.add_parser("daemon", allow_abbrev=False)
    for command in (run, hidden):
        command.add_argument("--config", type=Path, metavar="FILE", help="configuration (TOML)")
        command.add_argument("--preset", metavar="NAME", help="development, simple_failover, full_ha or distributed")
        command.add_argument(
            "--set", action="append", default=[], dest="sets", metavar="KEY=VALUE", help="override one option"
        )
        command.add_argument("--state-dir", type=Path, metavar="DIR", help="where this node remembers")
        command.add_argument("--runtime-dir", type=Path, metavar="DIR", help="where its control socket is")
    return parser


def _guard(options: argparse.Namespace, passed_on: list[str]) -> int:
    from mltbd.config.paths import state_dir
    from mltbd.guard import run

    directory = state_dir(options.state_dir, os.environ)
    # -P: a file in the current directory must not take the place of a module.
    return run([sys.executable, "-P", "-m", "mltbd.main", "daemon", *passed_on], str(directory))


def _daemon(options: argparse.Namespace) -> int:
    from mltbd.config.paths import socket_path, state_dir
    from mltbd.config.settings import load
    from mltbd.runtime.kept import kept, unheeded

    sets = list(options.sets)
    again = partial(load, options.preset, options.config, sets, os.environ)
    loaded = again()
    words, right = _judged(loaded)
    before = kept(os.environ)
    if before not in (None, loaded.content):
        was = again(kept=before)
        if _judged(was)[1]:
            words = [*([] if right else words), *unheeded(was, loaded)]
            loaded, right = was, True
    _say(words)
    if loaded.settings is None or not right:
        from mltbd.runtime.wrong_configuration import outlast

        return outlast(lambda: _judged(again()), words, _say, os.environ)
    from mltbd.runtime.daemon import run
    from mltbd.runtime.reload import Origin

    path = socket_path(loaded.settings.node_id, options.runtime_dir, os.environ)
    return run(
        loaded.settings, state_dir(options.state_dir, os.environ), path, RELEASE, os.environ, Origin(loaded, again)
    )


def _judged(loaded: Loaded) -> tuple[list[str], bool]:
    """What there is to say of a configuration, and whether a daemon can run with it."""
    words: list[str] = []
    for problem in loaded.problems:
        words += [f"{problem.level}: {problem.key}: {problem.message}"]
        words += [f"hint: {problem.hint}"] if problem.hint else []
    if loaded.settings is not None and not loaded.settings.cluster_enabled:
        words += ["error: CLUSTER_ENABLED is False, so there is nothing to run"]
        words += ["", "hint: `mltbd run --set CLUSTER_ENABLED=True`, or a preset"]
        return words, False
    return words, loaded.settings is not None


def _say(lines: list[str]) -> None:
    """To the log. One that is full, or that nobody reads any more, keeps no daemon from starting."""
    for line in lines:
        write(f"{line}\n".encode(errors="backslashreplace"))


def _forget_unwritten() -> None:
    """What the log did not take is tried again at the end, and would change the exit code that the guard goes by."""
    try:
        if sys.stderr is not None:
            sys.stderr.flush()
    except OSError:
        with open(os.devnull, "wb") as null:
            os.dup2(null.fileno(), sys.stderr.fileno())


if __name__ == "__main__":
    sys.exit(main())
