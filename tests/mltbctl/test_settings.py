"""Where the daemon is looked for, and where the secret comes from."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from mltb_transport.keys import new_secret
from mltbctl.errors import CliError, MltbError, Unreachable
from mltbctl.settings import (
    CONFIG_FILE_BYTES_MAX,
    NODES_MAX,
    Settings,
    config_path,
    endpoint_of,
    find_secret,
    local_sockets,
    named_nodes,
    runtime_directories,
)


@pytest.mark.parametrize(
    ("node", "endpoint"),
    [
        ("/run/mltb/n1.sock", "/run/mltb/n1.sock"), ("ipc:///run/n1.sock", "/run/n1.sock"), ("./n1.sock", "./n1.sock"),
        ("10.0.1.10:7947", "10.0.1.10:7947"), ("tcp://host:1", "host:1"), ("[::1]:7947", "[::1]:7947"),
        ("n1", None), ("bot-2", None),
    ],
)  # fmt: skip
def test_endpoint_of(node: str, endpoint: str | None) -> None:
    assert endpoint_of(node) == endpoint


@pytest.mark.parametrize("node", ["", "N1", "host:0", "host:65536", "host:", ":7947", "n_1", "n" * 64, "n1 "])
def test_no_node(node: str) -> None:
    with pytest.raises(CliError) as caught:
        endpoint_of(node)
    assert (caught.value.code, f"`{node}`" in caught.value.message) == ("usage", True)


def test_named_nodes_in_order_of_precedence() -> None:
    environ = {"MLTB_NODE": "n2, n3", "MLTB_SOCKET": "/s"}
    assert named_nodes(["n1"], environ) == ("n1",)
    assert named_nodes([], environ) == ("n2", "n3")
    assert named_nodes([], {"MLTB_SOCKET": "/s"}) == ("/s",)
    assert named_nodes([], {}) == ()
    with pytest.raises(CliError, match=f"at most {NODES_MAX}"):
        named_nodes(["n1"] * (NODES_MAX + 1), {})


@pytest.mark.parametrize("left", [0, 1])
def test_without_descriptors_it_is_this_process_that_cannot_look(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, left: int
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    (tmp_path / "n1.sock").touch()
    monkeypatch.setattr(*((socket, "socket", full) if left else (Path, "glob", full)))
    with pytest.raises(Unreachable, match="can be made: Too many open files") as caught:
        local_sockets({"MLTB_RUNTIME_DIR": str(tmp_path)})
    assert caught.value.hint == "run `ulimit -n`"


def test_runtime_directories(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert runtime_directories({"MLTB_RUNTIME_DIR": "/x"}) == [Path("/x/mltb"), Path("/x")]
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert runtime_directories({}) == [Path("/run/mltb/mltb"), Path("/run/mltb")]
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert runtime_directories({}) == [tmp_path / "mltb", tmp_path]


def test_a_path_too_long_for_a_socket_is_passed_over(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    (deep / "n1.sock").touch()
    with pytest.raises(Unreachable):
        local_sockets({"MLTB_RUNTIME_DIR": str(deep)})


def test_local_daemons_named_by_the_environment_come_before_those_of_the_runtime_directory(tmp_path: Path) -> None:
    with (
        socket.socket(socket.AF_UNIX) as one,
        socket.socket(socket.AF_UNIX) as other,
        socket.socket(socket.AF_UNIX) as usual,
    ):
        for listener, name in ((one, "one"), (other, "other"), (usual, "n1.sock")):
            listener.bind(str(tmp_path / name))
            listener.listen()
        environ = {"MLTB_NODE": f"n7, ipc://{tmp_path}/other {tmp_path}/gone host:1", "MLTB_RUNTIME_DIR": str(tmp_path)}
        assert local_sockets(environ | {"MLTB_SOCKET": f"{tmp_path}/one"}) == [f"{tmp_path}/one", f"{tmp_path}/other"]
        assert local_sockets(environ) == [f"{tmp_path}/other"]
        assert local_sockets(environ | {"MLTB_NODE": f"{tmp_path}/gone"}) == [f"{tmp_path}/n1.sock"]
    with pytest.raises(Unreachable, match="mltbd of `other`, `gone`, `n1` does not run"):
        local_sockets(environ)


def test_secret_from_the_environment_first(tmp_path: Path) -> None:
    secret, other = new_secret(), new_secret()
    file = tmp_path / "secret"
    file.write_text(f"{secret}\n")
    file.chmod(0o600)
    config = tmp_path / "mltb.toml"
    environ = {"CLUSTER_SECRET_FILE": str(file), "MLTB_CONFIG": str(config)}

    found = find_secret("", environ | {"CLUSTER_SECRET": other})
    assert found is not None
    assert (found.text, found.origin) == (other, "$CLUSTER_SECRET")

    found = find_secret("", environ)
    assert found is not None
    assert (found.text, found.origin) == (secret, f"$CLUSTER_SECRET_FILE (`{file}`)")

    config.write_text(f'cluster_secret = "{other}"')
    found = find_secret(str(config), {})
    assert found is not None
    assert (found.text, found.origin) == (other, f"CLUSTER_SECRET in `{config}`")

    config.write_text(f'CLUSTER_SECRET_FILE = "{file}"')
    found = find_secret("", {"MLTB_CONFIG": str(config)})
    assert found is not None
    assert found.text == secret

    config.write_text("CLUSTER_SECRET = 7")
    assert find_secret(str(config), {}) is None


def test_secret_never_shows_in_a_repr(tmp_path: Path) -> None:
    secret = new_secret()
    found = find_secret("", {"CLUSTER_SECRET": secret, "MLTB_CONFIG": str(tmp_path)})
    assert found is not None
    assert secret not in repr(found)


def test_secret_file_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(new_secret())
    file.chmod(0o644)
    with pytest.raises(CliError) as caught:
        find_secret("", {"CLUSTER_SECRET_FILE": str(file)})
    assert caught.value.hint == f"run `chmod 600 {file}`"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a = ", "no valid TOML"),
        (b"a = " + b"9" * 5000, "no valid TOML"),
        (b"a = " + b"[" * 5000, "no valid TOML"),
        (b"\xff", "not UTF-8"),
        (b"#" * (CONFIG_FILE_BYTES_MAX + 1), "larger than"),
    ],
)
def test_unreadable_configuration(tmp_path: Path, content: bytes, words: str) -> None:
    config = tmp_path / "mltb.toml"
    config.write_bytes(content)
    with pytest.raises(MltbError, match=words):
        find_secret(str(config), {})
    with pytest.raises(MltbError, match="cannot read"):
        find_secret(str(tmp_path / "none.toml"), {})


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    for config, environ in ((str(pipe), {}), ("", {"CLUSTER_SECRET_FILE": str(pipe)})):
        with pytest.raises(CliError, match="not a regular file") as caught:
            find_secret(config, environ)
        assert caught.value.code == "usage"


def test_config_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert config_path("a.toml", {"MLTB_CONFIG": "b.toml"}) == Path("a.toml")
    assert config_path("", {"MLTB_CONFIG": "b.toml"}) == Path("b.toml")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert config_path("", {}) is None
    (tmp_path / "mltb").mkdir()
    (tmp_path / "mltb" / "mltb.toml").touch()
    assert config_path("", {}) == tmp_path / "mltb" / "mltb.toml"


def test_what_is_said_after_the_command_wins() -> None:
    settings = Settings(output="json", timeout_s=1.0)
    assert settings.overridden(output="", timeout_s=None, quiet=False) == settings
    said = settings.overridden(output="plain", timeout_s=2.0, quiet=True)
    assert (said.output, said.timeout_s, said.quiet) == ("plain", 2.0, True)
