"""How many descriptors a daemon may open."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import resource, sys
from mltbd.runtime.daemon import FILES, _allow_many_files
soft, hard = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
_allow_many_files()
print(*resource.getrlimit(resource.RLIMIT_NOFILE), FILES)
"""


def limits(soft: int, hard: int) -> list[int]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(soft), str(hard)], check=True, capture_output=True, text=True, timeout=30
    )
    return [int(word) for word in done.stdout.split()]


def test_as_many_as_it_may_have() -> None:
    assert limits(256, 2048)[:2] == [2048, 2048]
    assert limits(2048, 2048)[:2] == [2048, 2048]
