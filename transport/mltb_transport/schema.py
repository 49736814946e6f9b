"""Messages to and from plain lists: one total codec, compiled once per class from messages.py.

Both directions check the same limits: nothing is sent, or kept in the journal, that could not be read back.
"""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Callable
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

import msgpack

from mltb_transport.limits import COMMAND_BYTES_MAX, ENTRY_BYTES_MAX, ITEMS_MAX, STRING_CHARS_MAX, TEXT_CHARS_MAX
from mltb_transport.messages import COMMANDS, KINDS, Entry, Request, Response

INT_MIN = -(2**63)
INT_MAX = 2**63 - 1

_TEXT_FIELDS = {(Request, "params"), (Response, "body")}

Check = Callable[[Any], Any]


class FrameError(Exception):
    """Bytes or values that no conforming peer sends. Says what and why; the receiver counts and drops."""


class UnknownCommand(FrameError):
    """A well-formed entry with a command that this release does not have: a newer one wrote it."""


def pack(value: object) -> list[Any]:
    """The fields of a message, or of a value inside one, as lists and scalars that msgpack takes.

    Raises FrameError when a field is beyond its limit or of the wrong type.
    """
    packed: list[Any] = _codec(type(value)).pack(value)
    return packed


def unpack(cls: type, fields: object) -> Any:
    """The inverse of `pack`. Missing trailing fields take their defaults, surplus ones are ignored.

    Raises FrameError for anything that `pack` would not have produced for `cls`.
    """
    return _codec(cls).unpack(fields)


def pack_entry(entry: Entry) -> bytes:
    """A log entry as the journal keeps it, at most ENTRY_BYTES_MAX bytes. Raises FrameError."""
    packed = to_bytes(pack(entry))
    if len(packed) > ENTRY_BYTES_MAX:
        raise FrameError(f"entry {entry.index} of {len(packed)} bytes exceeds the {ENTRY_BYTES_MAX} byte limit")
    return packed


def unpack_entry(packed: bytes) -> Entry:
    """The inverse of `pack_entry`. Raises FrameError."""
    return cast(Entry, unpack(Entry, from_bytes(packed, ENTRY_BYTES_MAX)))


def to_bytes(value: list[Any]) -> bytes:
    """One msgpack array. Raises FrameError for text that is not Unicode (lone surrogates)."""
    try:
        packed: bytes = msgpack.packb(value)
    except ValueError as error:
        raise FrameError(f"cannot be encoded: {error}") from error
    return packed


def from_bytes(packed: bytes, bytes_max: int) -> Any:
    """One msgpack value of nothing but nil, booleans, numbers, text, bytes and arrays, within the limits above."""
    if len(packed) > bytes_max:
        raise FrameError(f"{len(packed)} bytes exceed the {bytes_max} byte limit")
    try:
        return msgpack.unpackb(
            packed,
            raw=False,
            max_str_len=bytes_max,
            max_array_len=ITEMS_MAX,
            max_bin_len=bytes_max,
            max_map_len=0,
            max_ext_len=0,
        )
    except (ValueError, msgpack.UnpackException) as error:
        raise FrameError(f"not a frame: {error or type(error).__name__}") from error


# -- the codec of one class --------------------------------------------------------------------------------


class _Codec:
    """Packs and unpacks one dataclass, by functions made for it once: a field that is as it should be costs no call."""

    def __init__(self, cls: type) -> None:
        fields = dataclasses.fields(cls)
        hints = get_type_hints(cls)
        pairs = [_field_codec(hints[f.name], f"{cls.__name__}.{f.name}", (cls, f.name)) for f in fields]
        packers, self._unpackers = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        self._cls = cls
        self._names = [f.name for f in fields]
        self._required = sum(
            f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING for f in fields
        )
        tests = [
            _TESTS.get(hints[name], "").format(v=f"v{i}", chars=_chars_max((cls, name)))
            for i, name in enumerate(self._names)
        ]
        read = [f"v{i} = value.{name}" for i, name in enumerate(self._names)]
        taken_apart = [f"{''.join(f'v{i}, ' for i in range(len(fields)))}= fields"] if fields else []
        self._packed = _made("value", read, "[{}]", tests, packers, cls)
        self._unpacked = _made("fields", taken_apart, "cls({})", tests, self._unpackers, cls)

    def pack(self, value: object) -> list[Any]:
        if type(value) is not self._cls:
            raise FrameError(f"a {self._cls.__name__} is needed, not {_kind(value)}")
        packed: list[Any] = self._packed(value)
        return packed

    def unpack(self, fields: object) -> Any:
        if type(fields) is not list:
            raise FrameError(f"{self._cls.__name__} is not an array but {_kind(fields)}")
        if len(fields) == len(self._names):
            return self._unpacked(fields)
        if len(fields) < self._required:
            missing = ", ".join(self._names[len(fields) : self._required])
            raise FrameError(f"{self._cls.__name__} lacks {missing}")
        checks = self._unpackers
        # Not strict: fewer fields means defaults, more means a newer peer.
        return self._cls(*[check(field) for check, field in zip(checks, fields, strict=False)])


_TESTS = {
    int: f"type({{v}}) is int and {INT_MIN} <= {{v}} <= {INT_MAX}",
    float: "type({v}) is float and isfinite({v})",
    bool: "{v} is True or {v} is False",
    str: "type({v}) is str and len({v}) <= {chars}",
    bytes: f"type({{v}}) is bytes and len({{v}}) <= {COMMAND_BYTES_MAX}",
}
"""What the checks below let through as it is."""


def _made(given: str, lines: list[str], result: str, tests: list[str], checks: list[Check], cls: type) -> Check:
    """A function of what is given: these lines take it apart into v0, v1 ..., and the result holds what the checks make
    of them. They are called for what does not pass its test, and where there is none. As dataclasses are made."""
    whole = [f"v{i} if {test} else check{i}(v{i})" if test else f"check{i}(v{i})" for i, test in enumerate(tests)]
    source = [f"def made({given}):", *lines, f"return {result.format(', '.join(whole))}"]
    names: dict[str, Any] = {f"check{i}": check for i, check in enumerate(checks)}
    names |= {"cls": cls, "isfinite": math.isfinite}
    exec("\n    ".join(source), names)
    made: Check = names["made"]
    return made


_codecs: dict[type, _Codec] = {}


def _codec(cls: type) -> _Codec:
    codec = _codecs.get(cls)
    if codec is None:
        if not dataclasses.is_dataclass(cls):
            raise FrameError(f"`{cls.__name__}` is not a message")
        codec = _codecs[cls] = _Codec(cls)
    return codec


def _field_codec(hint: Any, name: str, field: tuple[type, str]) -> tuple[Check, Check]:
    """(packer, unpacker) for one annotation. TypeError when messages.py uses a type unknown to the wire."""
    if hint is int:
        check = _int_check(name)
        return check, check
    if hint is float:
        check = _float_check(name)
        return check, check
    if hint is bool:
        check = _bool_check(name)
        return check, check
    if hint is str:
        check = _str_check(name, _chars_max(field))
        return check, check
    if hint is bytes:
        check = _bytes_check(name)
        return check, check
    if get_origin(hint) is tuple and len(get_args(hint)) == 2 and get_args(hint)[1] is Ellipsis:
        return _tuple_codec(get_args(hint)[0], name, field)
    if get_origin(hint) in (types.UnionType, Union):
        return _union_codec(get_args(hint), name)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        codec = _codec(hint)
        return codec.pack, codec.unpack
    raise TypeError(f"{name}: the wire has no type for {hint!r}")


def _chars_max(field: tuple[type, str]) -> int:
    return TEXT_CHARS_MAX if field in _TEXT_FIELDS else STRING_CHARS_MAX


def _int_check(name: str) -> Check:
    def check(value: Any) -> int:
        if type(value) is int and INT_MIN <= value <= INT_MAX:
            return value
        raise FrameError(f"{name} is not a 64-bit integer but {_kind(value)}")

    return check


def _float_check(name: str) -> Check:
    def check(value: Any) -> float:
        if type(value) is float and math.isfinite(value):
            return value
        if type(value) is int and INT_MIN <= value <= INT_MAX:
            return float(value)
        raise FrameError(f"{name} is not a finite number but {_kind(value)}")

    return check


def _bool_check(name: str) -> Check:
    def check(value: Any) -> bool:
        if value is True or value is False:
            return bool(value)
        raise FrameError(f"{name} is not true or false but {_kind(value)}")

    return check


def _str_check(name: str, chars_max: int) -> Check:
    def check(value: Any) -> str:
        if type(value) is str and len(value) <= chars_max:
            return value
        if type(value) is str:
            raise FrameError(f"{name} of {len(value)} characters exceeds the limit of {chars_max}")
        raise FrameError(f"{name} is not text but {_kind(value)}")

    return check


def _bytes_check(name: str) -> Check:
    def check(value: Any) -> bytes:
        if type(value) is bytes and len(value) <= COMMAND_BYTES_MAX:
            return value
        if type(value) is bytes:
            raise FrameError(f"{name} of {len(value)} bytes exceeds the limit of {COMMAND_BYTES_MAX}")
        raise FrameError(f"{name} is not bytes but {_kind(value)}")

    return check


def _tuple_codec(item: Any, name: str, field: tuple[type, str]) -> tuple[Check, Check]:
    pack_item, unpack_item = _field_codec(item, f"{name}[]", field)

    def pack_items(value: Any) -> list[Any]:
        if type(value) is not tuple:
            raise FrameError(f"{name} is not a tuple but {_kind(value)}")
        if len(value) > ITEMS_MAX:
            raise FrameError(f"{name} of {len(value)} items exceeds the limit of {ITEMS_MAX}")
        return [pack_item(one) for one in value]

    def unpack_items(value: Any) -> tuple[Any, ...]:
        if type(value) is not list:
            raise FrameError(f"{name} is not an array but {_kind(value)}")
        if len(value) > ITEMS_MAX:
            raise FrameError(f"{name} of {len(value)} items exceeds the limit of {ITEMS_MAX}")
        return tuple([unpack_item(one) for one in value])

    return pack_items, unpack_items


def _union_codec(members: tuple[Any, ...], name: str) -> tuple[Check, Check]:
    """Commands travel as [number, fields]."""
    if set(members) != set(COMMANDS.values()):
        raise TypeError(f"{name}: the wire knows one union, Command")
    numbers = {cls: number for number, cls in COMMANDS.items()}

    def pack_command(value: Any) -> list[Any]:
        number = numbers.get(type(value))
        if number is None:
            raise FrameError(f"{name} is not a command but {_kind(value)}")
        return [number, pack(value)]

    def unpack_command(value: Any) -> Any:
        if type(value) is not list or len(value) < 2 or type(value[0]) is not int:
            raise FrameError(f"{name} is not a command but {_kind(value)}")
        cls = COMMANDS.get(value[0])
        if cls is None:
            raise UnknownCommand(f"{name}: unknown command {value[0]}")
        return unpack(cls, value[1])

    return pack_command, unpack_command


def _kind(value: object) -> str:
    """What an error message may say of a value: its type, the value itself only when short and plain."""
    if value is None or isinstance(value, bool | float):
        return repr(value)
    if isinstance(value, int):
        return f"{value}" if INT_MIN <= value <= INT_MAX else "an integer beyond 64 bits"
    return f"a {type(value).__name__}"


KIND_OF: dict[type, int] = {cls: number for number, cls in KINDS.items()}
