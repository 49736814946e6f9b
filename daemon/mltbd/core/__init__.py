"""PURE: events in, effects out; no clock, dice, disk or network."""
