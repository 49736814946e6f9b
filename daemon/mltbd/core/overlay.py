"""Who listens to whom: everybody to everybody in a small cluster, a ring with long chords in a large one.

The ring is that of Chord (Stoica et al., 2001): distances 1, 2, 4, ... over the sorted ids, here both ways, so that
each node sends to as many as it hears, news need at most log2 N steps, and both ends of an edge agree that it is one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

MESH_MAX = 16
"""Members, this node included, up to which everybody listens to everybody."""


def neighbours(me: str, members: Sequence[str]) -> frozenset[str]:
    """Whom `me` listens to and watches. `members`: sorted ids, `me` among them."""
    count = len(members)
    if count <= MESH_MAX:
        return frozenset(members) - {me}
    here = bisect_left(members, me)
    chosen: set[str] = set()
    distance = 1
    while distance < count:
        chosen.update((members[(here + distance) % count], members[(here - distance) % count]))
        distance *= 2
    return frozenset(chosen) - {me}
