"""Works out the effective values: what is unset follows from what is set, and what is not built is off."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mltb_transport.keys import SecretError, check_secret, read_secrets
from mltbd.config.layers import Layers, Sourced
from mltbd.config.machine import ELSEWHERE, ELSEWHERE_V6, Machine
from mltbd.config.names import node_id_from
from mltbd.config.options import NOT_BUILT, OPTIONS
from mltbd.config.parsing import split_address
from mltbd.config.problem import Problem, error, warning

LEASE_S = 3.0
ANYWHERE = ("0.0.0.0", "::")
LOOPBACK = "127.0.0.1"
CREDENTIAL = "cluster_secret"
_NODE_MARKS = ("CLUSTER_NODE_ID", "CLUSTER_SEED_NODES", "CLUSTER_BOOTSTRAP")
"""Who sets one of these configures a member of a cluster."""


@dataclass(frozen=True, slots=True)
class Effective:
    """The values a node runs with. `missing`: features the preset asks for and this version does not have."""

    values: dict[str, Sourced]
    missing: tuple[str, ...]
    problems: tuple[Problem, ...]


def majority(voters: int) -> int:
    """More than half of them."""
    return voters // 2 + 1


def derive(layers: Layers, environ: Mapping[str, str], machine: Machine) -> Effective:
    """The effective values of what was asked for."""
    values = dict(layers.values)
    missing = _switch_off_unbuilt(values)
    _derive_switches(values, layers)
    _derive_identity(values, machine)
    problems = [*_find_secret(values, environ), *_derive_address(values, machine)]
    _derive_lease(values)
    _derive_founder(values, environ, machine)
    _derive_quorum(values)
    return Effective(values, missing, tuple(problems))


def is_loopback(host: object) -> bool:
    """Only this machine can reach it."""
    text = str(host).lower()
    parts = text.split(".")
    return text in ("localhost", "::1") or (len(parts) == 4 and parts[0] == "127" and all(map(str.isdigit, parts)))


def seeds_of(values: Mapping[str, Sourced]) -> tuple[tuple[str, int], ...]:
    """The seeds as (host, port), this node itself left out where it can be recognised."""
    node_id = str(values["CLUSTER_NODE_ID"].value)
    port = values["CLUSTER_PORT"].value
    bound = str(values["CLUSTER_ADDRESS"].value)
    own = {bound, str(values["CLUSTER_ADVERTISE_ADDRESS"].value), node_id}
    if bound in (*ANYWHERE, LOOPBACK):
        own |= {LOOPBACK, "localhost", "::1"}
    found = []
    for item in _texts(values["CLUSTER_SEED_NODES"]):
        host, seed_port = split_address(item)
        if seed_port == port and (host in own or host.lower().split(".")[0] == node_id):
            continue
        found.append((host, seed_port))
    return tuple(found)


def _texts(sourced: Sourced) -> tuple[str, ...]:
    return sourced.value if isinstance(sourced.value, tuple) else ()


def _switch_off_unbuilt(values: dict[str, Sourced]) -> tuple[str, ...]:
    missing = set()
    for name, option in OPTIONS.items():
        asked = values[name]
        if option.built or asked.value == option.default:
            continue
        if asked.layer == "preset":
            missing.add(option.feature)
            origin = f"not in this version ({asked.origin})"
            values[name] = Sourced(option.default, origin, "derived")
    return tuple(feature for feature in NOT_BUILT if feature in missing)


def _derive_switches(values: dict[str, Sourced], layers: Layers) -> None:
    workload = f"workload.{layers.workloads[0].name}" if layers.workloads else None
    mark = next((name for name in _NODE_MARKS if values[name].explicit and values[name].value), None) or workload
    if mark and values["CLUSTER_ENABLED"].layer == "default":
        values["CLUSTER_ENABLED"] = Sourced(True, f"derived from {mark}", "derived")
    # Also where no workload is configured, as on a witness: whoever leads moves those of the others.
    if values["FAILOVER_ENABLED"].layer == "default" and values["CLUSTER_ENABLED"].value:
        values["FAILOVER_ENABLED"] = Sourced(True, "derived from CLUSTER_ENABLED", "derived")


def _derive_identity(values: dict[str, Sourced], machine: Machine) -> None:
    if values["CLUSTER_NODE_ID"].value is None:
        values["CLUSTER_NODE_ID"] = Sourced(node_id_from(machine.hostname), "derived from the host's name", "derived")


def _find_secret(values: dict[str, Sourced], environ: Mapping[str, str]) -> list[Problem]:
    secret, file = values["CLUSTER_SECRET"], values["CLUSTER_SECRET_FILE"]
    if secret.value and file.value:
        return [
            error(
                "CLUSTER_SECRET_FILE",
                f"the secret is given twice, here and as CLUSTER_SECRET ({secret.origin})",
                "keep one of them",
                file.origin,
            )
        ]
    problems: list[Problem] = []
    path, origin, name = None, secret.origin, "CLUSTER_SECRET"
    if file.value:
        path, origin, name = Path(str(file.value)), file.origin, "CLUSTER_SECRET_FILE"
    elif not secret.value and (path := _credential(environ)):
        origin, name = "env CREDENTIALS_DIRECTORY", "the systemd credential"
    try:
        if path is not None:
            found = read_secrets(path)
            values["CLUSTER_SECRET"] = Sourced(found.used, f"derived from {name}", "derived")
            if found.other and not values["CLUSTER_SECRET_SECOND"].value:
                values["CLUSTER_SECRET_SECOND"] = Sourced(found.other, f"derived from {name}", "derived")
        elif secret.value is not None:
            check_secret(str(secret.value))
    except SecretError as bad:
        key = "CLUSTER_SECRET_FILE" if file.value else "CLUSTER_SECRET"
        problems.append(error(key, bad.message, bad.hint, origin))
    problems += _check_second(values)
    if values["CLUSTER_SECRET"].value and values["CLUSTER_INSECURE"].value:
        values["CLUSTER_INSECURE"] = Sourced(False, "derived from CLUSTER_SECRET", "derived")
    if values["HA_ENCRYPTION_ENABLED"].value is None:
        on = values["CLUSTER_SECRET"].value is not None
        values["HA_ENCRYPTION_ENABLED"] = Sourced(on, "derived from CLUSTER_SECRET", "derived")
    return problems


def _check_second(values: Mapping[str, Sourced]) -> list[Problem]:
    second = values["CLUSTER_SECRET_SECOND"]
    if not second.value:
        return []
    try:
        check_secret(str(second.value))
    except SecretError as bad:
        return [error("CLUSTER_SECRET_SECOND", bad.message, bad.hint, second.origin)]
    if not values["CLUSTER_SECRET"].value:
        why = "a second secret is of use only beside CLUSTER_SECRET"
        return [error("CLUSTER_SECRET_SECOND", why, "name the first one as CLUSTER_SECRET", second.origin)]
    return []


def _credential(environ: Mapping[str, str]) -> Path | None:
    """The secret's place among the credentials systemd handed over, if it is there."""
    directory = environ.get("CREDENTIALS_DIRECTORY")
    if not directory or "\0" in directory:
        return None
    path = Path(directory) / CREDENTIAL
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return path  # To start without it would be worse than to say why it cannot be read.
    return path


def _derive_address(values: dict[str, Sourced], machine: Machine) -> list[Problem]:
    if values["CLUSTER_ADDRESS"].value is None:
        everywhere = bool(values["CLUSTER_SECRET"].value or values["CLUSTER_INSECURE"].value)
        source = "CLUSTER_INSECURE" if values["CLUSTER_INSECURE"].value else "CLUSTER_SECRET"
        address = ANYWHERE[":" in str(values["CLUSTER_ADVERTISE_ADDRESS"].value)] if everywhere else LOOPBACK
        values["CLUSTER_ADDRESS"] = Sourced(address, f"derived from {source}", "derived")
    if values["CLUSTER_ADVERTISE_ADDRESS"].value is not None:
        return []
    address = bound = str(values["CLUSTER_ADDRESS"].value)
    origin = "derived from CLUSTER_ADDRESS"
    other = None
    if address in ANYWHERE:
        target = _route_target(values)
        outward = machine.outward(target)  # Without one the daemon looks on: runtime/route.py.
        address = outward or LOOPBACK
        there = "the world" if target == ELSEWHERE else target
        origin = f"derived from the route to {there}" if outward else f"no route to {there} yet"
        if outward is None and target == ELSEWHERE and bound == ANYWHERE[0]:
            other = machine.outward(ELSEWHERE_V6)  # Not taken unasked: IPv4 may only come up later than IPv6.
    values["CLUSTER_ADVERTISE_ADDRESS"] = Sourced(address, origin, "derived")
    if other is None:
        return []
    words = f"there is a route for IPv6 alone, from `{other}`, and at `{bound}` this node hears only IPv4"
    hint = f'where none for IPv4 is to come, set `CLUSTER_ADVERTISE_ADDRESS = "{other}"`'
    return [warning("CLUSTER_ADVERTISE_ADDRESS", words, hint, values["CLUSTER_ADDRESS"].origin)]


def _route_target(values: Mapping[str, Sourced]) -> str:
    """The seed to ask a route for: an IP address, so that no name has to be looked up."""
    import ipaddress  # Loaded here alone: a node that binds a plain address does not pay for it.

    literals = []
    for item in _texts(values["CLUSTER_SEED_NODES"]):
        host, _ = split_address(item)
        try:
            literals.append(str(ipaddress.ip_address(host)))
        except ValueError:
            continue
    far = [host for host in literals if not is_loopback(host)]
    return (far or literals or [ELSEWHERE])[0]


def _derive_lease(values: dict[str, Sourced]) -> None:
    timeout = values["CLUSTER_NODE_TIMEOUT"].value
    if values["CLUSTER_LEASE_DURATION"].value is None and isinstance(timeout, int | float):
        lease = min(LEASE_S, timeout / 2)
        values["CLUSTER_LEASE_DURATION"] = Sourced(lease, "derived from CLUSTER_NODE_TIMEOUT", "derived")


def _derive_founder(values: dict[str, Sourced], environ: Mapping[str, str], machine: Machine) -> None:
    if values["CLUSTER_BOOTSTRAP"].value is not None:
        return
    node_id = str(values["CLUSTER_NODE_ID"].value)
    primary = values["FAILOVER_PRIMARY_NODE"].value
    if primary is not None:
        founder, origin = primary == node_id, "derived from FAILOVER_PRIMARY_NODE"
    elif "KUBERNETES_SERVICE_HOST" in environ and node_id_from(machine.hostname) == node_id:
        founder, origin = node_id.endswith("-0"), "derived from the ordinal of the pod"
    else:
        founder, origin = False, "default"
    values["CLUSTER_BOOTSTRAP"] = Sourced(founder, origin, "derived")


def _derive_quorum(values: dict[str, Sourced]) -> None:
    nodes, asked = values["HA_MIN_NODES"].value, values["HA_QUORUM_SIZE"]
    if not isinstance(nodes, int) or not isinstance(asked.value, int) or asked.explicit:
        return
    needed = majority(nodes)
    if asked.layer == "default" or asked.value < needed or asked.value > nodes:
        origin = asked.origin if asked.value == needed else "derived from HA_MIN_NODES"
        layer = asked.layer if asked.value == needed else "derived"
        values["HA_QUORUM_SIZE"] = Sourced(needed, origin, layer)
