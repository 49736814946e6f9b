"""`mltbd` as another release would be: `other_mltbd.py NEWEST PATIENCE_S run ...` speaks the protocol up to NEWEST.

The numbers are changed before any module has read them. What starts a guard here starts its daemon here as well.
"""

from __future__ import annotations

import sys

from mltb_transport import limits


def main(newest: str, patience_s: str, *arguments: str) -> int:
    limits.PROTOCOL = int(newest)
    limits.PROTOCOL_MIN = max(1, limits.PROTOCOL - 1)
    limits.PROTOCOL_READ_MAX = limits.PROTOCOL + 1
    from mltbd import guard
    from mltbd import main as program

    if arguments[0] == "daemon":
        from mltbd.core import level_rules

        level_rules.PATIENCE_S = float(patience_s)
    run = guard.run

    def with_our_daemon(daemon_argv: list[str], state_dir: str) -> int:
        ours = [sys.executable, "-P", __file__, newest, patience_s]
        return run([*ours, *daemon_argv[daemon_argv.index("daemon") :]], state_dir)

    guard.run = with_our_daemon
    return program.main(list(arguments))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
