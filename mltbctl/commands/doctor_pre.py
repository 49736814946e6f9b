"""`mltbctl doctor --pre`: would a node start here, and reach the others? Asks the machine and the seeds, no daemon."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mltb_transport.addresses import spelled
from mltbctl.commands.doctor import verdict
from mltbctl.commands.founding import Place, state_directory
from mltbctl.diagnosis import (
    DISK_NOTABLE_MS,
    FREE_LOW_PERCENT,
    LEVELS,
    NOTE,
    OK,
    PROBLEM,
    WARNING,
    Finding,
)
from mltbctl.result import Result

CONNECT_S = 2.0
PROBE_BYTES = 4096


def pre(config: str, *, strict: bool) -> Result:
    """The findings about this machine, from its configuration."""
    from mltbctl.commands.config import show

    told = show(None, config or None, [], effective=True).data
    values = {row["key"]: row["value"] for row in told["settings"]}
    node = str(values.get("CLUSTER_NODE_ID") or "this machine")
    found = [*configuration(told), *ports(node, values), *seeds(node, values, config), *state(node), *service(node)]
    found.sort(key=lambda finding: LEVELS.index(finding.level))
    return verdict(found, strict=strict, seen_by=node)


def configuration(told: dict[str, Any]) -> Iterator[Finding]:
    """What `config validate` says; a secret file of the wrong mode is among it."""
    for level, key in ((PROBLEM, "errors"), (WARNING, "warnings")):
        for item in told[key]:
            yield Finding(
                level, "config", "", f"{item['key']}: {item['message']}", item["hint"] or "mltbctl config validate"
            )
    if told["valid"]:
        yield Finding(OK, "config", "", f"valid ({told['config'] or 'no file'})")


def ports(node: str, values: dict[str, Any]) -> Iterator[Finding]:
    """Both ports can be listened on."""
    address, first = str(values["CLUSTER_ADDRESS"]), int(values["CLUSTER_PORT"])
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for port in (first, first + 1):
        where = spelled(address, port)
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
                yield Finding(OK, "port", node, f"{where} is free")
            except OSError as error:
                why = (error.strerror or str(error)).lower()
                hint = f"does this node run already? See `ss -ltnp 'sport = :{port}'`"
                yield Finding(PROBLEM, "port", node, f"cannot listen on {where}: {why}", hint)


def seeds(node: str, values: dict[str, Any], config: str) -> Iterator[Finding]:
    """Every seed has an address, takes connections on both ports, and shares our secret."""
    own = int(values["CLUSTER_PORT"])
    for seed in values.get("CLUSTER_SEED_NODES") or []:
        host, _, text = str(seed).rpartition(":")
        host, port = host.strip("[]"), int(text)
        try:
            numeric = str(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0])
        except (OSError, UnicodeError):
            hint = "check the name, DNS, or `/etc/hosts`"
            yield Finding(PROBLEM, "name", node, f"{host} has no address", hint)
            continue
        if port == own and numeric in _own_addresses(values):
            continue
        answers = True
        for number in (port, port + 1):
            finding = _connects(node, host, numeric, number)
            answers = answers and finding.level == OK
            yield finding
        if answers:
            yield from _same_secret(node, host, numeric, port + 1, config)


def _own_addresses(values: dict[str, Any]) -> set[str]:
    return {str(values["CLUSTER_ADDRESS"]), str(values["CLUSTER_ADVERTISE_ADDRESS"])}


def _connects(node: str, host: str, numeric: str, port: int) -> Finding:
    began, where = time.monotonic(), spelled(host, port)
    try:
        with socket.create_connection((numeric, port), CONNECT_S):
            took_ms = (time.monotonic() - began) * 1000
            return Finding(OK, "seed", node, f"{where} takes connections, in {took_ms:.1f} ms")
    except ConnectionRefusedError:
        return Finding(NOTE, "seed", node, f"nobody listens at {where}", f"is `mltbd` running on {host} yet?")
    except OSError as error:
        why = "no answer" if isinstance(error, TimeoutError) else (error.strerror or str(error)).lower()
        return Finding(PROBLEM, "seed", node, f"{where}: {why}", "check routes and firewalls on both sides")


def _same_secret(node: str, host: str, numeric: str, port: int, config: str) -> Iterator[Finding]:
    from mltbctl.client import Client
    from mltbctl.errors import AuthenticationFailed, MltbError

    where = spelled(numeric, port)
    try:
        with Client(where, timeout=CONNECT_S, config=config) as client:
            told = client.ping()
    except AuthenticationFailed:
        words = f"{host} takes our connections and ends them for their keys: it has another secret"
        yield Finding(PROBLEM, "secret", node, words, "compare the fingerprints: `mltbctl secret show` on both")
    except MltbError as error:
        yield Finding(WARNING, "seed", node, f"{host}: {error.message}", error.hint)
    else:
        yield Finding(OK, "secret", node, f"{told['node']} ({told['version']}) shares our secret")


def state(node: str) -> Iterator[Finding]:
    """The state directory can be written to, fast enough, with room left."""
    place = _nearest(state_directory(Place(), os.environ))
    try:
        seconds, usage = _write(place), shutil.disk_usage(place)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        yield Finding(PROBLEM, "disk", node, f"cannot write to {place}: {why}", "run it as the user of `mltbd`")
        return
    slow = seconds * 1000 > DISK_NOTABLE_MS
    hint = "put the state directory on another disk: $MLTB_STATE_DIR" if slow else ""
    yield Finding(WARNING if slow else OK, "disk", node, f"{place}: fdatasync takes {seconds * 1000:.1f} ms", hint)
    if 100 * usage.free / usage.total < FREE_LOW_PERCENT:
        words = f"{100 * usage.free / usage.total:.1f} % of the disk of {place} is free"
        yield Finding(WARNING, "disk", node, words, "make room: a full disk stops the node")


def _nearest(directory: Path) -> Path:
    """It, or what is there of the way to it. What cannot be looked at is there: whoever writes is told why."""
    for path in (directory, *directory.parents):
        try:
            os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            pass
        return path
    return Path("/")


def _write(place: Path) -> float:
    path = place / f".mltb-probe-{os.getpid()}"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, os.urandom(PROBE_BYTES))
        began = time.monotonic()
        getattr(os, "fdatasync", os.fsync)(fd)
        return time.monotonic() - began
    finally:
        os.close(fd)
        path.unlink(missing_ok=True)


def service(node: str) -> Iterator[Finding]:
    """Whether something would restart it."""
    if not Path("/run/systemd/system").is_dir():
        yield Finding(NOTE, "systemd", node, "systemd does not run here", "let something else start `mltbd run`")
    elif not Path("/etc/systemd/system/mltbd.service").exists():
        yield Finding(NOTE, "systemd", node, "no unit for mltbd", "`mltbctl service install --now`")
