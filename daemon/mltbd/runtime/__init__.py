"""IMPURE: performs what the core asks for."""
