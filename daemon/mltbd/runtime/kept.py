"""What a daemon began with is kept by its guard, for the daemons after it. A crash changes no configuration: the file
counts when the service starts and at a reload. By then it may be half written, or written for a restart at night.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import zlib
from collections.abc import Mapping

from mltbd.config.settings import Loaded
from mltbd.orders import DATAGRAM_BYTES_MAX, FD_VARIABLE, KEPT_CHARS_MAX
from mltbd.runtime.reload import WITH_GUARD, differing


def packed(content: bytes) -> str:
    """The content of a file as the guard keeps it; empty where that is more than it takes."""
    text = base64.b64encode(zlib.compress(content)).decode()
    return text if len(text) <= KEPT_CHARS_MAX else ""


def kept(environ: Mapping[str, str]) -> bytes | None:
    """The content that our guard keeps; None where it keeps none. The greeting it stands in stays to be read."""
    try:
        with socket.socket(fileno=os.dup(int(environ[FD_VARIABLE]))) as guard:
            hello = guard.recv(DATAGRAM_BYTES_MAX, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except (KeyError, OSError):
        return None
    text = json.loads(hello).get("configuration") if hello else None
    return zlib.decompress(base64.b64decode(text)) if text else None


def unheeded(was: Loaded, now: Loaded) -> list[str]:
    """What to say of a file that does not count yet; nothing where it comes to the same."""
    goes_on = "this node goes on with the configuration it had"
    if now.settings is None:
        return [f"warning: config: `{now.config_path}` is wrong by now: {goes_on}"]
    changed = differing(was, now)
    if not changed:
        return []
    held = [name for name in changed if name in WITH_GUARD]
    hint = f"restart the service for {', '.join(held)}" if held else "run `mltbctl service reload`"
    words = f"`{now.config_path}` was changed and not reloaded ({', '.join(changed)})"
    return [f"warning: config: {words}: {goes_on}", f"hint: {hint}"]
