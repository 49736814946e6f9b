"""The mark that `mltbctl init` leaves in an empty state directory: the node that starts on it founds the cluster.

It lies beside the journal and not in the configuration, so that a founder whose disk is wiped founds nothing: it
finds the others, and is an observer like any wiped node.
"""

from __future__ import annotations

from pathlib import Path

from mltb_transport.places import FOUNDER
from mltbd.core.founding import Founder


def marked(state_dir: Path, founder: Founder, *, begun: bool) -> Founder:
    """What the configuration says about founding, or the mark. `begun`: the log has entries, so the mark is spent."""
    mark = state_dir / FOUNDER
    if begun:
        mark.unlink(missing_ok=True)
        return founder
    return Founder(designated=True, min_nodes=1, expected=1) if mark.is_file() else founder
