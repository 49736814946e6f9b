"""PURE: what would happen, answered by the real core in a world of its own."""
