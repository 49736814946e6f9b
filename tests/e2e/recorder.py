"""The workload of the end-to-end tests: stamps every 2 ms that it runs, and does nothing else.

`--stubborn` ignores SIGTERM; `--child` leaves the work to a grandchild in a session of its own, as aria2 does.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from mltbctl.demo.runs import BEAT_S, RunRecord


def main() -> None:
    """Run until killed."""
    if "--stubborn" in sys.argv:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "--child" in sys.argv and os.fork():
        signal.pause()
    if "--child" in sys.argv:
        os.setsid()
        if os.fork():
            os._exit(0)
    record = RunRecord(Path(os.environ["RUNS"]), os.environ["MLTB_NODE_ID"], int(os.environ["MLTB_TOKEN"]))
    while True:
        record.beat()
        time.sleep(BEAT_S)


if __name__ == "__main__":
    main()
