"""Writes OPTIONS.md, the reference of all options, from the table that the daemon itself uses: `make docs`.

python daemon/generate_options.py [FILE]
"""

from __future__ import annotations

import sys
from pathlib import Path

from mltbd.config.options import NOT_BUILT, OPTIONS, Option, Value

HERE = Path(__file__).resolve().parent
HEAD = """# Options

Made by `make docs` from `mltbd/config/options.py`; change it there.

Write them into the TOML file (`preset = "..."` first, then `NAME = value`, upper or lower case), into the environment
(`NAME=value`), or behind `--set NAME=value`; the later of these wins. `mltbctl config show --effective --origin` shows
what a node runs with and where each value came from, `mltbctl config validate` what is wrong with it.

A default of "derived" is worked out from the other options. What is not built is refused, by name: such an option may
only be written with the default it has here, so that nobody relies on what this version does not do.
"""


def text_of(value: Value) -> str:
    """A default as it is written in the TOML file."""
    if value is None:
        return "derived"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return "`[" + ", ".join(f'"{item}"' for item in value) + "]`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def kind_of(option: Option) -> str:
    """What may be written: the type, and where it has one, its range or choices."""
    if option.choices:
        return " · ".join(f"`{choice}`" for choice in option.choices)
    unit = f", {option.unit}" if option.unit and option.kind != "seconds" else ""
    if option.low is None or option.high is None:
        return f"{option.kind}{unit}"
    return f"{option.kind}, {option.low:g} to {option.high:.15g}{unit}"


def row(option: Option) -> str:
    built = "yes" if option.built else f"no: {option.feature}"
    doc = f"{option.doc} (never printed)" if option.secret else option.doc
    return f"| `{option.name}` | {kind_of(option)} | {text_of(option.default)} | {doc} | {built} |"


def reference() -> str:
    """The whole file: one table a family of options, each option in exactly one row."""
    lines = [HEAD]
    families: dict[str, list[Option]] = {}
    for option in OPTIONS.values():
        families.setdefault(option.feature, []).append(option)
    for feature, options in families.items():
        later = " (not built)" if feature in NOT_BUILT else ""
        lines.append(f"## {feature[:1].upper()}{feature[1:]}{later}\n")
        lines.append("| option | type | default | what it does | built |")
        lines.append("|---|---|---|---|---|")
        lines += [row(option) for option in options]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def main(arguments: list[str]) -> None:
    path = Path(arguments[0]) if arguments else HERE / "OPTIONS.md"
    path.write_text(reference(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
