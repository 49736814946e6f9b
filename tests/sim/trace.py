"""A history as one number: `python -m tests.sim.trace SEED ...` prints it for each seed."""

from __future__ import annotations

import hashlib
import sys

from tests.sim.history import History
from tests.sim.scenario import run_seed


def fingerprint(history: History) -> str:
    """Equal for equal histories, down to the last digit of every moment."""
    digest = hashlib.sha256()
    for happening in history:
        digest.update(repr(happening).encode())
    return digest.hexdigest()[:16]


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        print(fingerprint(run_seed(int(argument)).history))
