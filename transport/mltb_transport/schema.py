"""Messages to and from plain lists: one total codec, compiled once per class from messages.py.

Both directions check the same limits: nothing is sent, or kept in the journal, that could not be read back.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import types
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn, Union, cast, get_args, get_origin, get_type_hints

import msgpack

from mltb_transport.limits import COMMAND_BYTES_MAX, ENTRY_BYTES_MAX, ITEMS_MAX, STRING_CHARS_MAX, TEXT_CHARS_MAX
from mltb_transport.messages import COMMANDS, KINDS, Entry, Request, Response

INT_MIN = -(2**63)
INT_MAX = 2**63 - 1

_TEXT_FIELDS = {(Request, "params"), (Response, "body")}


class FrameError(Exception):
    """Bytes or values that no conforming peer sends. Says what and why; the receiver counts and drops."""


class UnknownCommand(FrameError):
    """A well-formed entry with a command that this release does not have: a newer one wrote it."""


def pack(value: object) -> list[Any]:
    """The fields of a message, or of a value inside one, as lists and scalars that msgpack takes.

    Raises FrameError when a field is beyond its limit or of the wrong type.
    """
    packed: list[Any] = (_codecs.get(type(value)) or _codec(type(value))).pack(value)
    return packed


def unpack(cls: type, fields: object) -> Any:
    """The inverse of `pack`. Missing trailing fields take their defaults, surplus ones are ignored.

    Raises FrameError for anything that `pack` would not have produced for `cls`.
    """
    return (_codecs.get(cls) or _codec(cls)).unpack(fields)


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
    """Packs and unpacks one dataclass by two functions made for it, as dataclasses are: what is as it should be costs
    no call. They go out of their way for anything else: to say what is wrong, or to see that it is not."""

    def __init__(self, cls: type) -> None:
        fields = dataclasses.fields(cls)
        hints = get_type_hints(cls)
        self._cls = cls
        self._names = [f.name for f in fields]
        self._defaults = [_plain(_default(f)) for f in fields if not _is_required(f)]
        pack, unpack = _Source(packs=True), _Source(packs=False)
        packed, unpacked = [], []
        for number, (name, hint) in enumerate((name, hints[name]) for name in self._names):
            where = (f"{cls.__name__}.{name}", TEXT_CHARS_MAX if (cls, name) in _TEXT_FIELDS else STRING_CHARS_MAX)
            packed.append(pack.expression(hint, f"value.{name}", *where))
            unpacked.append(unpack.expression(hint, f"fields[{number}]", *where))
        wrong, whole = f"{pack.name(self._wrong)}(value)", f"fields = {unpack.name(self._whole)}(fields)"
        another = f"type(value) is not {pack.name(cls)}"
        incomplete = f"type(fields) is not list or len(fields) != {len(fields)}"
        self.pack = pack.function("value", another, wrong, f"[{', '.join(packed)}]")
        self.unpack = unpack.function("fields", incomplete, whole, f"{unpack.name(cls)}({', '.join(unpacked)})")

    def _wrong(self, value: object) -> NoReturn:
        raise FrameError(f"a {self._cls.__name__} is needed, not {_kind(value)}")

    def _whole(self, fields: object) -> list[Any]:
        """Missing trailing fields take their defaults, surplus ones are a newer peer's."""
        if type(fields) is not list:
            raise FrameError(f"{self._cls.__name__} is not an array but {_kind(fields)}")
        required = len(self._names) - len(self._defaults)
        if len(fields) < required:
            raise FrameError(f"{self._cls.__name__} lacks {', '.join(self._names[len(fields) : required])}")
        return [*fields, *self._defaults[len(fields) - required :]][: len(self._names)]


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _plain(value: Any) -> Any:
    """As it comes out of msgpack."""
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return pack(value) if dataclasses.is_dataclass(value) else value


_codecs: dict[type, _Codec] = {}


def _codec(cls: type) -> _Codec:
    codec = _codecs.get(cls)
    if codec is None:
        if not dataclasses.is_dataclass(cls):
            raise FrameError(f"`{cls.__name__}` is not a message")
        codec = _codecs[cls] = _Codec(cls)
    return codec


class _Source:
    """The source of one function, and what it refers to."""

    def __init__(self, *, packs: bool) -> None:
        self._packs = packs
        self._names: dict[str, Any] = {"isfinite": math.isfinite}
        self._numbers = itertools.count()

    def name(self, thing: object) -> str:
        """By which the function knows it."""
        name = f"n{next(self._numbers)}"
        self._names[name] = thing
        return name

    def function(self, given: str, flaw: str, mend: str, result: str) -> Callable[[Any], Any]:
        exec(f"def made({given}):\n if {flaw}:\n  {mend}\n return {result}", self._names)
        made: Callable[[Any], Any] = self._names["made"]
        return made

    def expression(self, hint: Any, source: str, name: str, chars_max: int) -> str:
        """What `source` is packed to or unpacked to. TypeError when messages.py uses a type unknown to the wire."""
        if get_origin(hint) in (types.UnionType, Union):
            return f"{self.name(_command(get_args(hint), name, packs=self._packs))}({source})"
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            codec = _codec(hint)
            return f"{self.name(codec.pack if self._packs else codec.unpack)}({source})"
        wrong: Callable[..., Any]
        value = source if source.isidentifier() else f"v{next(self._numbers)}"
        first = value if value == source else f"({value} := {source})"
        if get_origin(hint) is tuple and get_args(hint)[1:] == (Ellipsis,):
            item = self.expression(get_args(hint)[0], "each", f"{name}[]", chars_max)
            outside, result = ("tuple", "[{}]") if self._packs else ("list", "tuple([{}])")
            result = result.format(f"{item} for each in {value}")
            test, wrong = f"type({first}) is {outside} and len({value}) <= {ITEMS_MAX}", partial(_no_items, outside)
        elif hint in _SCALARS:
            test, wrong = _SCALARS[hint]
            test, result = test.format(first=first, v=value, chars_max=chars_max), value
        else:
            raise TypeError(f"{name}: the wire has no type for {hint!r}")
        return f"({result} if {test} else {self.name(partial(wrong, name, chars_max))}({value}))"


# -- what does not pass the test of its type -----------------------------------------------------------------


def _no_int(name: str, _: int, value: object) -> NoReturn:
    raise FrameError(f"{name} is not a 64-bit integer but {_kind(value)}")


def _no_float(name: str, _: int, value: object) -> float:
    if type(value) is int and INT_MIN <= value <= INT_MAX:
        return float(value)
    raise FrameError(f"{name} is not a finite number but {_kind(value)}")


def _no_bool(name: str, _: int, value: object) -> NoReturn:
    raise FrameError(f"{name} is not true or false but {_kind(value)}")


def _no_str(name: str, chars_max: int, value: object) -> NoReturn:
    if type(value) is str:
        raise FrameError(f"{name} of {len(value)} characters exceeds the limit of {chars_max}")
    raise FrameError(f"{name} is not text but {_kind(value)}")


def _no_bytes(name: str, _: int, value: object) -> NoReturn:
    if type(value) is bytes:
        raise FrameError(f"{name} of {len(value)} bytes exceeds the limit of {COMMAND_BYTES_MAX}")
    raise FrameError(f"{name} is not bytes but {_kind(value)}")


def _no_items(outside: str, name: str, _: int, value: object) -> NoReturn:
    if isinstance(value, tuple | list) and type(value).__name__ == outside:
        raise FrameError(f"{name} of {len(value)} items exceeds the limit of {ITEMS_MAX}")
    raise FrameError(f"{name} is not {'a tuple' if outside == 'tuple' else 'an array'} but {_kind(value)}")


_SCALARS: dict[type, tuple[str, Callable[[str, int, object], Any]]] = {
    int: (f"type({{first}}) is int and {INT_MIN} <= {{v}} <= {INT_MAX}", _no_int),
    float: ("type({first}) is float and isfinite({v})", _no_float),
    bool: ("{first} is True or {v} is False", _no_bool),
    str: ("type({first}) is str and len({v}) <= {chars_max}", _no_str),
    bytes: (f"type({{first}}) is bytes and len({{v}}) <= {COMMAND_BYTES_MAX}", _no_bytes),
}


def _command(members: tuple[Any, ...], name: str, *, packs: bool) -> Callable[[Any], Any]:
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

    return pack_command if packs else unpack_command


def _kind(value: object) -> str:
    """What an error message may say of a value: its type, the value itself only when short and plain."""
    if value is None or isinstance(value, bool | float):
        return repr(value)
    if isinstance(value, int):
        return f"{value}" if INT_MIN <= value <= INT_MAX else "an integer beyond 64 bits"
    return f"a {type(value).__name__}"


KIND_OF: dict[type, int] = {cls: number for number, cls in KINDS.items()}
