"""Nested plain lists to bytes and back, without the limits of a frame: snapshots are made of them."""

from __future__ import annotations

from typing import Any, cast

import msgpack


class PlainError(ValueError):
    """Bytes that `pack_plain` never wrote."""


def pack_plain(value: list[Any]) -> bytes:
    """Lists, text, numbers, booleans and None; the same value gives the same bytes. Any text goes, in any state."""
    return cast(bytes, msgpack.packb(value, unicode_errors="surrogatepass"))


def unpack_plain(packed: bytes) -> Any:
    """The inverse. Total: raises PlainError, nothing else."""
    try:
        return msgpack.unpackb(
            packed, raw=False, unicode_errors="surrogatepass", max_map_len=0, max_bin_len=0, max_ext_len=0
        )
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        raise PlainError(f"{error or type(error).__name__}") from error
