"""The demo's workload: a long-polling bot (python-telegram-bot) that answers `/n N` and records its life.

It acknowledges an update only after it answered it, so that a killed bot loses nothing: what it had not
finished is delivered to the next one. Run by a node, which puts MLTB_NODE_ID and MLTB_TOKEN into its
environment.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mltbctl.demo.runs import RunRecord

API_VARIABLE = "MLTB_DEMO_API"
"""Address of the Bot API, e.g. `http://127.0.0.1:8081`."""
BOT_TOKEN_VARIABLE = "MLTB_DEMO_BOT_TOKEN"
RUNS_VARIABLE = "MLTB_DEMO_RUNS"
"""Directory for the record of this run."""


def main() -> None:
    """Records the run from its first instant, then loads the bot library and serves until SIGTERM."""
    missing = [name for name in (API_VARIABLE, BOT_TOKEN_VARIABLE, RUNS_VARIABLE) if not os.environ.get(name)]
    if missing:
        raise SystemExit(f"error: the demo bot needs `{missing[0]}` in its environment")
    node, token = os.environ.get("MLTB_NODE_ID", "-"), int(os.environ.get("MLTB_TOKEN", "0"))
    record = RunRecord(Path(os.environ[RUNS_VARIABLE]), node, token)
    record.keep_beating()
    # Loading the library takes a third of a second, in which this process runs already.
    import asyncio

    from mltbctl.demo.polling import serve

    asyncio.run(serve(os.environ[API_VARIABLE], os.environ[BOT_TOKEN_VARIABLE], node, token))
    print(f"bot: {node} stopped", file=sys.stderr, flush=True)
    record.beat()
    # To tear the interpreter down takes a fifth of a second, for which the next owner would wait.
    os._exit(0)


if __name__ == "__main__":
    main()
