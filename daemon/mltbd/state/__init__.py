"""PURE: what is applied from the log."""
