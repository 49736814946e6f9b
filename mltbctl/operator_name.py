"""Who asks, for the history: user@host, as this machine says. A courtesy, no proof."""

from __future__ import annotations

import os

NAME_CHARS_MAX = 128


def operator_name() -> str:
    """`ann@desk`; `?` where a part cannot be told."""
    user = os.environ.get("SUDO_USER") or os.environ.get("LOGNAME") or os.environ.get("USER") or _login()
    return _printable(f"{user}@{os.uname().nodename or '?'}")


def _login() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def _printable(text: str) -> str:
    return "".join(sign if sign.isprintable() else "?" for sign in text)[:NAME_CHARS_MAX]
