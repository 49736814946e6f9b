"""Writes the completion scripts of `mltbctl` as typer makes them, for packages to install: `make completions`.

python completions/generate.py [DIRECTORY]
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SCRIPTS = {"bash": "mltbctl.bash", "zsh": "_mltbctl", "fish": "mltbctl.fish"}
NOTE = "# Made by `make completions`."
AUTOLOAD = """
# Found in $fpath, zsh runs this file itself for the first completion: that one has to be answered too.
if [ "$funcstack[1]" = "_mltbctl" ]; then
  _mltbctl_completion
fi
"""


def script(shell: str) -> str:
    """The completion script for one shell. CalledProcessError when `mltbctl` cannot make it."""
    made = subprocess.run(
        [sys.executable, "-m", "mltbctl"],
        env={**os.environ, "_MLTBCTL_COMPLETE": f"source_{shell}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    text = made.stdout.strip() + "\n"
    if shell == "zsh":  # The first line has to stay the first: zsh reads there what the file is for.
        first, rest = text.split("\n", 1)
        return f"{first}\n{NOTE}\n{rest}{AUTOLOAD}"
    return f"{NOTE}\n{text}"


def main(arguments: list[str]) -> None:
    directory = Path(arguments[0]) if arguments else HERE
    for shell, name in SCRIPTS.items():
        (directory / name).write_text(script(shell), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
