"""Replay one seed and tell its story: `python -m tests.sim.replay SEED [LINES]`."""

from __future__ import annotations

import sys

from tests.sim.scenario import run_seed


def main(arguments: list[str]) -> int:
    outcome = run_seed(int(arguments[0]))
    last = int(arguments[1]) if len(arguments) > 1 else 200
    print(outcome.explain(last))
    print(f"{outcome.events} events, {'FAILED' if outcome.failed else 'all promises kept'}")
    return 1 if outcome.failed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
