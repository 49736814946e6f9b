"""Reading mltb.toml: what is not a readable TOML file is a Problem, and each key knows its line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mltbd.config.options import OPTIONS
from mltbd.config.settings import load
from mltbd.config.toml_file import FILE_BYTES_MAX, read_toml
from tests.daemon.config.machines import machine


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "mltb.toml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_keys_know_their_lines(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        '# a comment\npreset = "full_ha"\n\nCluster_Port = 1\n"CLUSTER_NAME" = "x"\n'
        '[workload.main]\ncommand = ["x"]\n  cwd = "/"\n[workload."a.b"]\ncommand = ["y"]\n[api]\nport = 0\n',
    )
    file, problems = read_toml(path, named=True)
    assert problems == []
    assert file.options == {"CLUSTER_PORT": 1, "CLUSTER_NAME": "x"}
    lines = {key: int(place.rpartition(":")[2]) for key, place in file.lines.items()}
    assert (lines["preset"], lines["CLUSTER_PORT"], lines["CLUSTER_NAME"]) == (2, 4, 5)
    assert (lines["workload.main"], lines["workload.main.cwd"], lines["workload.a.b.command"]) == (6, 8, 10)
    assert file.origin("api.port") == f"{path}:12"
    assert file.origin("unheard of") == str(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"CLUSTER_PORT = ", "is not TOML: invalid value (at"),
        (b"a = 1\na = 2", "is not TOML: cannot overwrite a value"),
        (b"\xff", "not UTF-8 at byte 0"),
        (b"a = " + b"9" * 5000, "is not TOML"),
        (b"a = " + b"[" * 5000, "is not TOML: nested too deeply"),
        (b"a = " + b"[" * 20 + b"]" * 20, "is not TOML: nested too deeply"),
        (b"command." + b"a." * 5000 + b"b = 1", "is not TOML: nested too deeply"),
        (b"CLUSTER_PORT = 0x" + b"f" * 5000, "is not TOML: the number of `CLUSTER_PORT` has more than 64 bits"),
        (b"[[workload.main.check]]\nx = [[0x8000000000000000]]", "the number of `x` has more"),
        (b"#" * (FILE_BYTES_MAX + 1), f"larger than {FILE_BYTES_MAX} bytes"),
    ],
)
def test_what_is_no_toml_is_one_error(tmp_path: Path, content: bytes, message: str) -> None:
    file, problems = read_toml(written(tmp_path, content), named=True)
    assert [item.key for item in problems] == ["config"]
    assert message in problems[0].message
    assert file.options == {}


@pytest.mark.parametrize("number", ["9223372036854775807", "-9223372036854775808"])
def test_the_numbers_of_toml_are_numbers(tmp_path: Path, number: str) -> None:
    file, problems = read_toml(written(tmp_path, f"CLUSTER_PORT = {number}"), named=True)
    assert (file.options, problems) == ({"CLUSTER_PORT": int(number)}, [])


def test_a_named_file_has_to_exist_and_an_unnamed_one_does_not(tmp_path: Path) -> None:
    absent = tmp_path / "absent.toml"
    assert read_toml(absent, named=False)[1] == []
    (problem,) = read_toml(absent, named=True)[1]
    assert problem.level == "error"
    assert "no file" in problem.message
    assert "mltbctl config init" in problem.hint


def test_what_is_kept_counts_as_the_content_whatever_the_file_has_by_now(tmp_path: Path) -> None:
    for path in (written(tmp_path, "CLUSTER_PORT = 1"), tmp_path / "absent.toml"):
        file, problems = read_toml(path, True, b"CLUSTER_PORT = 7000")
        assert (file.options, problems) == ({"CLUSTER_PORT": 7000}, [])
        assert file.content == b"CLUSTER_PORT = 7000"
        assert file.origin("CLUSTER_PORT") == f"{path}:1"


def test_a_directory_and_an_impossible_path_are_errors(tmp_path: Path) -> None:
    assert "is a directory" in read_toml(tmp_path, named=True)[1][0].message
    assert read_toml(Path("a\0b"), named=True)[1][0].key == "config"


def test_a_pipe_is_an_error_and_nobody_waits_for_its_writer(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (problem,) = read_toml(pipe, named=True)[1]
    assert problem.message == f"cannot read `{pipe}`: not a regular file"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_that_may_not_be_read_is_an_error(tmp_path: Path) -> None:
    path = written(tmp_path, "")
    path.chmod(0)
    assert "permission denied" in read_toml(path, named=True)[1][0].message


names = st.sampled_from([*OPTIONS, "preset", "workload", "api", "check"]) | st.text(max_size=8)
values = st.sampled_from(
    ["1", "true", '"a:1"', "[]", "{}", "[{}]", "1979-05-27", "nan", '["x"]', "{command=1}", "{main={command=['x']}}"]
)


@given(st.lists(st.tuples(names, values), max_size=6) | st.text(max_size=80))
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_garbage_never_crashes(tmp_path: Path, content: list[tuple[str, str]] | str) -> None:
    text = content if isinstance(content, str) else "\n".join(f"{key} = {value}" for key, value in content)
    path = written(tmp_path, text.encode("utf-8", "surrogatepass"))
    found = load(None, path, [], {}, machine())
    assert (found.settings is None) == any(item.level == "error" for item in found.problems)
