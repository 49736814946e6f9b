"""What a configuration or a secret may be: anything that can be read at once."""

from __future__ import annotations

import os
import pty
from pathlib import Path

import pytest

from mltb_transport.regular import regular


def test_a_pipe_or_a_device_is_refused_at_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    ends = pty.openpty()
    for path in (str(pipe), os.ttyname(ends[1]), "/dev/zero"):
        with pytest.raises(OSError, match="not a regular file"):
            regular(path, os.O_RDONLY)
    for end in ends:
        os.close(end)


def test_a_file_is_read_and_so_is_an_empty_one_by_its_usual_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    (tmp_path / "masked").symlink_to(os.devnull)
    for name, content in (("file", "text"), ("masked", ""), (os.devnull, "")):
        with open(tmp_path / name, opener=regular) as file:
            assert file.read() == content


def test_what_is_not_there_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        regular(str(tmp_path / "absent"), os.O_RDONLY)
