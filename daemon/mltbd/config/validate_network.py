"""The rules on who this node is, where it listens, whom it meets and who may talk to it."""

from __future__ import annotations

from collections.abc import Iterator

from mltbd.config.derive import ANYWHERE, is_loopback, seeds_of
from mltbd.config.problem import Problem, error, warning
from mltbd.config.view import View

PRIVILEGED_PORT_MAX = 1023


def seeds(view: View) -> Iterator[Problem]:
    if not view.on("CLUSTER_ENABLED"):
        return
    nodes, others = int(view.number("HA_MIN_NODES")), seeds_of(view.values)
    named = view.values["CLUSTER_SEED_NODES"]
    none_meant = view.joins and named.explicit and not named.value
    if nodes > 1 and not others and not none_meant:
        own = " beside this node itself" if named.value else ""
        yield warning(
            "CLUSTER_SEED_NODES",
            f"no seed nodes{own}: this node meets only those that name it as theirs",
            'set `CLUSTER_SEED_NODES = ["10.0.1.10:7946", ...]`',
            view.origin("CLUSTER_SEED_NODES"),
        )
    if others and view.preset == "development" and view.asked["CLUSTER_BOOTSTRAP"].layer == "preset":
        yield warning(
            "CLUSTER_SEED_NODES",
            "every node with the preset `development` founds a cluster of its own",
            "use another preset, or set CLUSTER_BOOTSTRAP=False here",
            view.origin("CLUSTER_SEED_NODES"),
        )
    address = view.text("CLUSTER_ADDRESS")
    if is_loopback(address) and any(not is_loopback(host) for host, _ in others):
        yield warning(
            "CLUSTER_ADDRESS",
            f"`{address}` cannot be reached from other machines, yet seeds are there",
            "run `mltbctl secret new` and give the secret to every node",
            view.origin("CLUSTER_ADDRESS"),
        )


def families(view: View) -> Iterator[Problem]:
    """`::` listens to both; every other address to its own family alone."""
    bound, reached = view.text("CLUSTER_ADDRESS"), view.text("CLUSTER_ADVERTISE_ADDRESS")
    numeric = all(":" in host or host.replace(".", "").isdigit() for host in (bound, reached))
    if view.on("CLUSTER_ENABLED") and numeric and bound != ANYWHERE[1] and (":" in bound) != (":" in reached):
        yield warning(
            "CLUSTER_ADVERTISE_ADDRESS",
            f"the others are told `{reached}`, but at `{bound}` this node hears only the other kind of IP",
            'set `CLUSTER_ADDRESS = "::"`, which hears both',
            view.origin("CLUSTER_ADVERTISE_ADDRESS"),
        )


def ports(view: View) -> Iterator[Problem]:
    port = int(view.number("CLUSTER_PORT"))
    origin = view.origin("CLUSTER_PORT")
    if port <= PRIVILEGED_PORT_MAX and not view.root:
        yield warning("CLUSTER_PORT", f"port {port} is below 1024: only root may listen there", "use 7946", origin)
    if view.api_port.value in (port, port + 1):
        used = "gossip" if view.api_port.value == port else "consensus and control (CLUSTER_PORT + 1)"
        yield error("api.port", f"port {view.api_port.value} is taken by {used}", "", view.api_port.origin)


def security(view: View) -> Iterator[Problem]:
    secret = bool(view.values["CLUSTER_SECRET"].value)
    encryption = view.asked["HA_ENCRYPTION_ENABLED"]
    if encryption.value is True and not secret:
        yield error(
            "HA_ENCRYPTION_ENABLED",
            "nothing can be encrypted without a secret",
            "run `mltbctl secret new` and set CLUSTER_SECRET_FILE",
            encryption.origin,
        )
    if encryption.value is False and secret:
        yield error(
            "HA_ENCRYPTION_ENABLED",
            "with a secret everything is encrypted; it cannot be switched off",
            "leave it out",
            encryption.origin,
        )
    if view.asked["CLUSTER_INSECURE"].value is True and secret:
        yield warning(
            "CLUSTER_INSECURE",
            "has no effect while there is a secret",
            "take it out",
            view.asked["CLUSTER_INSECURE"].origin,
        )
    if not secret and view.on("CLUSTER_ENABLED"):
        yield from _no_secret(view)


def _no_secret(view: View) -> Iterator[Problem]:
    address, origin = view.text("CLUSTER_ADDRESS"), view.origin("CLUSTER_ADDRESS")
    if is_loopback(address):
        if not view.values["CLUSTER_ADDRESS"].explicit:
            yield warning(
                "CLUSTER_SECRET",
                f"there is no secret, so this node listens on {address} only",
                "run `mltbctl secret new` and set CLUSTER_SECRET_FILE on every node",
                origin,
            )
    elif view.on("CLUSTER_INSECURE"):
        yield warning(
            "CLUSTER_INSECURE",
            f"without a secret anyone who reaches {address} may command this node and read what it sends",
            "run `mltbctl secret new` and set CLUSTER_SECRET_FILE on every node",
            view.origin("CLUSTER_INSECURE"),
        )
    else:
        yield error(
            "CLUSTER_SECRET",
            f"there is no secret, but `{address}` can be reached from other machines",
            "run `mltbctl secret new` and set CLUSTER_SECRET_FILE on every node, or CLUSTER_INSECURE=True",
            origin,
        )


def identity(view: View) -> Iterator[Problem]:
    if not view.on("CLUSTER_ENABLED"):
        return
    node_id = view.text("CLUSTER_NODE_ID")
    if node_id == "localhost" and view.number("HA_MIN_NODES") > 1:
        yield warning(
            "CLUSTER_NODE_ID",
            "the host is called `localhost`, as many are; two nodes must not have the same id",
            'set `CLUSTER_NODE_ID = "n1"`',
            view.origin("CLUSTER_NODE_ID"),
        )
    if view.text("CLUSTER_ADVERTISE_ADDRESS") in ANYWHERE:
        yield error(
            "CLUSTER_ADVERTISE_ADDRESS",
            f"`{view.text('CLUSTER_ADVERTISE_ADDRESS')}` is where to listen, not where to be reached",
            "set the address of this machine that the others can reach",
            view.origin("CLUSTER_ADVERTISE_ADDRESS"),
        )


def roles(view: View) -> Iterator[Problem]:
    node_id, role = view.text("CLUSTER_NODE_ID"), view.text("CLUSTER_ROLE")
    primary = view.text("FAILOVER_PRIMARY_NODE")
    origin = view.origin("FAILOVER_PRIMARY_NODE")
    if primary in view.texts("FAILOVER_SECONDARY_NODES"):
        yield error(
            "FAILOVER_SECONDARY_NODES",
            f"`{primary}` is the primary node as well",
            "take it out of one",
            origin,
        )
    if primary == node_id and role != "voter":
        yield error("CLUSTER_ROLE", f"the primary node cannot be a {role}, which runs no workload", "", origin)
    if view.on("CLUSTER_BOOTSTRAP") and role == "observer":
        yield error(
            "CLUSTER_ROLE",
            "an observer cannot found a cluster: it has no vote",
            "set CLUSTER_BOOTSTRAP=True on a voter",
            view.origin("CLUSTER_BOOTSTRAP"),
        )
    if view.asked["CLUSTER_BOOTSTRAP"].explicit and view.on("CLUSTER_BOOTSTRAP") and primary not in ("", node_id):
        yield warning(
            "CLUSTER_BOOTSTRAP",
            f"FAILOVER_PRIMARY_NODE makes `{primary}` a founder as well, and only one node may be",
            f"take it out here, or set CLUSTER_BOOTSTRAP=False on `{primary}`",
            view.origin("CLUSTER_BOOTSTRAP"),
        )
