"""From the text of an environment variable, or a TOML value, to the value of an option."""

from __future__ import annotations

import math
import re

from mltb_transport.addresses import spelled
from mltbd.config.names import NAME, check_node_id, shown
from mltbd.config.options import Option, Value
from mltbd.config.problem import ValueProblem
from mltbd.config.suggest import did_you_mean

TEXT_CHARS_MAX = 4096
LIST_ITEMS_MAX = 99
DEFAULT_PORT = 7946

TRUE = ("true", "1", "yes", "on")
FALSE = ("false", "0", "no", "off")
NONE = ("", "none", "auto")
"""What leaves an option that is worked out, or absent, as it is."""

_HOST_NAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,62}))*\.?")
_ONLY_NUMBERS = re.compile(r"[0-9.]+")
_DECIMAL = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]{1,4})?", re.IGNORECASE | re.ASCII)
_SERVICE_LINK = re.compile(r"(tcp|udp)://")


def parse_text(option: Option, text: str) -> Value:
    """The value of an option written as text: an environment variable or `--set`.

    Raises ValueProblem. The text of a secret never appears in it.
    """
    if len(text) > TEXT_CHARS_MAX:
        raise ValueProblem(f"{len(text)} characters are more than {TEXT_CHARS_MAX}")
    if "\0" in text:
        raise ValueProblem("a zero byte is in it")
    stripped = text.strip()
    if _SERVICE_LINK.match(stripped) and not option.secret:
        raise ValueProblem(
            f"`{shown(stripped)}` is what Kubernetes tells of a service of that name",
            "set `enableServiceLinks: false` in the pod, or rename the service",
        )
    match option.kind:
        case "bool":
            return _bool_from(option, stripped)
        case "int":
            whole = _int_from(stripped)
            _check_range(option, whole)
            return whole
        case "seconds" | "number":
            if option.default is None and stripped.lower() in NONE:
                return None
            number = _float_from(option, stripped)
            _check_range(option, number)
            return number
        case "addresses" | "nodes":
            return parse_value(option, [part.strip() for part in stripped.split(",") if part.strip()])
        case _:
            return _from_words(option, stripped)


def parse_value(option: Option, raw: object) -> Value:
    """The value of an option as TOML gave it. Types are strict, but a list may be written as one text.

    Raises ValueProblem. The text of a secret never appears in it.
    """
    match option.kind:
        case "bool":
            if isinstance(raw, bool):
                return raw
            raise ValueProblem(f"true or false is needed, not {_found(raw)}", "write `true` or `false`, without quotes")
        case "int":
            if isinstance(raw, int) and not isinstance(raw, bool):
                _check_range(option, raw)
                return raw
            raise ValueProblem(f"a whole number is needed, not {_found(raw)}", "write it without quotes")
        case "seconds" | "number":
            if isinstance(raw, int | float) and not isinstance(raw, bool):
                number = _finite(raw)
                _check_range(option, number)
                return number
            raise ValueProblem(f"a number is needed, not {_found(raw)}", _number_hint(option))
        case "addresses" | "nodes":
            return _list_from(option, raw)
        case _:
            if isinstance(raw, str):
                return _from_words(option, raw)
            found = "something else" if option.secret else _found(raw)
            raise ValueProblem(f"text is needed, not {found}", "put it in quotes")


def split_address(text: str) -> tuple[str, int]:
    """(host, port) of `host:port`, `[v6]:port` or `host`, whose port is then 7946. Raises ValueProblem."""
    hint = "write host:port, as in `10.0.1.10:7946`"
    host, colon, port = text.rpartition(":")
    if not colon or (text.startswith("[") and text.endswith("]")):
        host, port = text, str(DEFAULT_PORT)
    elif ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueProblem(f"`{shown(text)}` has too many colons", "write an IPv6 address as `[::1]:7946`")
    try:
        number = _int_from(port)
    except ValueProblem:
        raise ValueProblem(f"`{shown(text)}` has no port that is a number", hint) from None
    if not 1 <= number <= 65535:
        raise ValueProblem(f"port {number} of `{shown(text)}` is outside 1 to 65535", hint)
    return check_host(host.removeprefix("[").removesuffix("]"), hint), number


def check_host(host: str, hint: str = "") -> str:
    """The host, when it can be an IP address or a name. Raises ValueProblem."""
    import ipaddress  # Slow to load, and most configurations name few hosts.

    if not host:
        raise ValueProblem("the host is missing", hint)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if not _HOST_NAME.fullmatch(host) or _ONLY_NUMBERS.fullmatch(host):
            raise ValueProblem(f"`{shown(host)}` is neither an IP address nor the name of a host", hint) from None
    return host


def _from_words(option: Option, text: str) -> Value:
    if len(text) > TEXT_CHARS_MAX:
        raise ValueProblem(f"{len(text)} characters are more than {TEXT_CHARS_MAX}")
    if "\0" in text:
        raise ValueProblem("a zero byte is in it")
    if option.default is None and text.lower() in NONE:
        return None
    match option.kind:
        case "choice":
            return _choice_from(option, text)
        case "node":
            return check_node_id(text)
        case "address":
            return "0.0.0.0" if text == "*" else check_host(text.removeprefix("[").removesuffix("]"))
        case "name":
            if not NAME.fullmatch(text):
                raise ValueProblem(f"`{shown(text)}` is no name: 1 to 255 of letters, digits and `._/-` are")
            return text
        case "path":
            if not text.startswith("/"):
                raise ValueProblem(f"`{shown(text)}` is not an absolute path", "write the whole path")
            return text
        case _:
            return text


def _choice_from(option: Option, text: str) -> str:
    for choice in option.choices:
        if choice.lower() == text.lower():
            return choice
    raise ValueProblem(
        f"`{shown(text)}` is not one of {', '.join(f'`{choice}`' for choice in option.choices)}",
        did_you_mean(text, option.choices),
    )


def _list_from(option: Option, raw: object) -> tuple[str, ...]:
    items = [part.strip() for part in raw.split(",") if part.strip()] if isinstance(raw, str) else raw
    if not isinstance(items, list):
        raise ValueProblem(f"a list is needed, not {_found(raw)}", 'write `["a", "b"]`')
    if len(items) > LIST_ITEMS_MAX:
        raise ValueProblem(f"{len(items)} items are more than {LIST_ITEMS_MAX}")
    found = []
    for item in items:
        if not isinstance(item, str):
            raise ValueProblem(f"each item is text, not {_found(item)}", 'put it in quotes, as in `["a", "b"]`')
        text = item.strip()
        if option.kind == "addresses":
            host, port = split_address(text)
            found.append(spelled(host, port))
        else:
            found.append(check_node_id(text))
    if repeated := sorted({item for item in found if found.count(item) > 1}):
        raise ValueProblem(f"`{repeated[0]}` is named twice")
    return tuple(found)


def _bool_from(option: Option, text: str) -> bool | None:
    lower = text.lower()
    if lower in TRUE:
        return True
    if lower in FALSE:
        return False
    if option.default is None and lower in NONE:
        return None
    raise ValueProblem(f"`{shown(text)}` is neither true nor false", "write `True` or `False`")


def _int_from(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        raise ValueProblem(f"`{shown(text)}` is not a whole number")
    return int(text)


def _float_from(option: Option, text: str) -> float:
    if not _DECIMAL.fullmatch(text):
        raise ValueProblem(f"`{shown(text)}` is not a number", _number_hint(option))
    return _finite(float(text))


def _finite(number: float) -> float:
    try:
        found = float(number)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found):
        raise ValueProblem("a finite number is needed")
    return found


def _check_range(option: Option, number: float) -> None:
    low, high = option.low, option.high
    if (low is not None and number < low) or (high is not None and number > high):
        unit = f" {option.unit}" if option.unit else ""
        raise ValueProblem(f"`{shown(str(number))}` is outside {low:g} to {high:g}{unit}")


def _number_hint(option: Option) -> str:
    unit = {"s": "seconds as a plain number", "days": "days as a plain number"}.get(option.unit, "a plain number")
    example = option.default if isinstance(option.default, float) else 5.0
    return f"write {unit}, as in `{example:g}`"


def _found(raw: object) -> str:
    names = {
        str: "text",
        bool: "true or false",
        int: "a number",
        float: "a number",
        list: "a list",
        dict: "a table",
    }
    return names.get(type(raw), f"a {type(raw).__name__}")
