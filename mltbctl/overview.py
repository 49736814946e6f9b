"""The picture `mltbctl status` draws: who leads, who runs what, what may be lost, what needs a hand."""

from __future__ import annotations

from typing import Any

from mltbctl.result import Style
from mltbctl.tables import Cell, Column, flow, table, wrapped
from mltbctl.words import ago, count, duration, milliseconds, seconds_since

STALE_VIEW_S = 10.0  # a view older than this is marked
ROOMY_COLUMNS = 100  # below this the process id of a workload is left out

_COLUMNS = (
    Column("NODE"),
    Column("ROLE"),
    Column("PRIO", right=True, gives_way=2),
    Column("HEALTH"),
    Column("RTT", right=True, gives_way=1),
    Column("LAST SEEN", gives_way=3),
    Column("WORKLOAD"),
)
_CLUSTER_STATES = {
    "STABLE": ("healthy", "healthy", "green"),
    "FORMING": ("suspect", "forming", "yellow"),
    "DEGRADED": ("suspect", "degraded", "yellow"),
    "SPLIT_BRAIN": ("dead", "split brain", "red"),
    "NO_QUORUM": ("dead", "no quorum", "red"),
}
_NODE_STATES = {
    "LEADER": ("leader", "leader", "green"),
    "UNREACHABLE": ("dead", "unreachable", "red"),
    "JOINING": ("suspect", "joining", "yellow"),
    "LEAVING": ("suspect", "leaving", "yellow"),
}
_ROLES = {"witness": ("witness", "witness"), "observer": ("observer", "observer")}
_HEALTH = {
    "HEALTHY": ("", "ok", ""),
    "DEGRADED": ("suspect", "degraded", "yellow"),
    "UNHEALTHY": ("dead", "unhealthy", "red"),
}
_WORKLOAD_STATES = {
    "STOPPED": ("stopped", "yellow"),
    "STARTING": ("starting", "yellow"),
    "STOPPING": ("stopping", "yellow"),
    "BACKOFF": ("crashed, waiting to restart", "red"),
    "FAILED": ("failed", "red"),
    "UNKNOWN": ("unknown", "red"),
}
_FAILOVER_STATES = {
    "NORMAL": ("normal", ""),
    "DETECTING": ("checking a failure", "yellow"),
    "FAILING_OVER": ("failing over", "yellow"),
    "FAILED_OVER": ("failed over", "yellow"),
    "RECOVERING": ("recovering", "yellow"),
    "FAILED": ("failed", "red"),
}


_OWN_WORDS = frozenset({"paused", "no_quorum", "failed", "no_owner", "two_voters"})
"""Kinds of alerts that this module words itself, from the numbers, with the remedy."""


def overview(data: dict[str, Any], style: Style, now: float) -> str:
    """The dict of `status -o json` as text within `style.width`; `now` is Unix time."""
    lines = [
        *flow(_headline(data, style), style),
        *node_table(data, style, now),
        *flow(_summary(data, now), style),
    ]
    for alert in _alerts(data):
        first, *rest = wrapped(alert, style, f"{style.glyph('alert')} ")
        lines += [style.yellow(line) for line in (first, *rest)]
    return "\n".join(lines)


def _sign(style: Style, glyph: str, word: str) -> str:
    return f"{style.glyph(glyph)} {word}" if glyph else word


def _headline(data: dict[str, Any], style: Style) -> list[Cell]:
    cluster, view = data["cluster"], data["view"]
    quorum = cluster["quorum"]
    glyph, word, paint = _CLUSTER_STATES.get(cluster["state"], ("suspect", cluster["state"].lower(), "yellow"))
    tolerance = cluster["failure_tolerance"]
    safe = tolerance > 0 or not quorum["has_quorum"]
    age, known = view["age_seconds"], view.get("known", True)
    cells = [
        Cell(cluster["name"] or "cluster", "bold"),
        Cell(_sign(style, glyph, word), paint),
        Cell(
            f"quorum {quorum['reachable']}/{quorum['voters']} (needs {quorum['needed']})",
            "" if quorum["has_quorum"] else "red",
        ),
    ]
    if quorum["has_quorum"]:
        cells.append(Cell(f"can lose {count(tolerance, 'node')}", "" if safe else "yellow"))
    return [
        *cells,
        Cell(f"term {cluster['term']}", "dim"),
        Cell(
            f"view: {view['node']}, {f'{duration(age)} old' if known else 'this node knows nothing yet'}",
            "dim" if known and age <= STALE_VIEW_S else "yellow",
        ),
    ]


def node_table(data: dict[str, Any], style: Style, now: float) -> list[str]:
    """One row per node; a node that owns several workloads has a row for each."""
    rows: list[list[Cell]] = []
    for node in data["nodes"]:
        first, *more = _workload_cells(node, data["workloads"], style, now)
        rows.append([*_node_cells(node, data["view"]["node"], style), first])
        rows += [[*(Cell("") for _ in _COLUMNS[1:]), cell] for cell in more]
    return table(_COLUMNS, rows, style)


def is_silent(node: dict[str, Any]) -> bool:
    """It does not answer; UNREACHABLE is what gossip calls it after CLUSTER_NODE_TIMEOUT."""
    return node["state"] == "UNREACHABLE" or node.get("answers") is False


def is_known(node: dict[str, Any]) -> bool:
    """Whether more than its name and its vote is: nobody has met it since the viewing node started, if not."""
    return node.get("last_seen_seconds", 0.0) is not None


def role_cell(node: dict[str, Any], style: Style) -> Cell:
    """What a node is in the cluster: by its state where that is remarkable, else by its role."""
    if is_silent(node) and node["state"] != "UNREACHABLE":
        return Cell(_sign(style, "suspect", "no answer"), "red")
    if node["state"] in _NODE_STATES:
        glyph, word, paint = _NODE_STATES[node["state"]]
        drained = ", drained" if node.get("drained") else ""
        return Cell(_sign(style, glyph, word) + drained, "yellow" if drained else paint)
    if node.get("drained"):
        return Cell(_sign(style, "waiting", "drained"), "yellow")
    glyph, word = _ROLES.get(node["role"], ("follower", "follower"))
    return Cell(_sign(style, glyph, word))


def health_cell(node: dict[str, Any], style: Style) -> Cell:
    """How a node says it is; unknown while it does not answer."""
    if is_silent(node):
        return Cell("unknown", "dim")
    glyph, word, paint = _HEALTH.get(node["health"], ("", "unknown", "dim"))
    return Cell(_sign(style, glyph, word), paint)


def seen_cell(node: dict[str, Any], local: bool) -> Cell:
    """When the viewing node last heard from it."""
    if local:
        return Cell("now")
    seen = node.get("last_seen_seconds")
    return Cell("never" if seen is None else ago(seen), "red" if is_silent(node) else "")


def rtt_cell(node: dict[str, Any], style: Style) -> Cell:
    """The round trip from the viewing node, where it was measured."""
    rtt = node.get("rtt_ms")
    return Cell(style.glyph("dash"), "dim") if rtt is None else Cell(milliseconds(rtt))


def _node_cells(node: dict[str, Any], viewer: str, style: Style) -> list[Cell]:
    local = node["id"] == viewer
    ranks = is_known(node) and node["role"] != "witness"
    return [
        Cell(f"{node['id']} {style.glyph('local')}", "bold") if local else Cell(node["id"]),
        role_cell(node, style),
        Cell(str(node["priority"])) if ranks else Cell(style.glyph("dash"), "dim"),
        health_cell(node, style),
        rtt_cell(node, style),
        seen_cell(node, local),
    ]


def _workload_cells(node: dict[str, Any], workloads: list[dict[str, Any]], style: Style, now: float) -> list[Cell]:
    owned = [_owned_cell(workload, style, now) for workload in workloads if workload["owner"] == node["id"]]
    if owned:
        return owned
    if is_silent(node) or not workloads:
        return [Cell(style.glyph("dash"), "dim")]
    idle = {"witness": "votes only", "observer": "observes only"}.get(node["role"], "standby")
    return [Cell(idle, "dim")]


def _owned_cell(workload: dict[str, Any], style: Style, now: float) -> Cell:
    name, state = workload["name"], workload["state"]
    if state != "RUNNING":
        words, paint = _WORKLOAD_STATES.get(state, (state.lower(), "yellow"))
        return Cell(f"{name} {words}", paint)
    parts = [f"{name} running"]
    since = seconds_since(workload.get("since"), now)
    if since is not None:
        parts[0] += f" {duration(since)}"
    if workload.get("pid") and style.width >= ROOMY_COLUMNS:
        parts[0] += f" pid {workload['pid']}"
    if workload.get("lease_remaining_seconds") is not None:
        parts.append(f"lease {workload['lease_remaining_seconds']:.1f}s")
    ill = workload.get("health") in ("DEGRADED", "UNHEALTHY")
    if ill:
        parts.append(workload["health"].lower())
    if workload.get("restarts"):
        parts.append(count(workload["restarts"], "restart"))
    return Cell("  ".join(parts), "yellow" if ill else "green")


def _summary(data: dict[str, Any], now: float) -> list[Cell]:
    failover = data["failover"]
    words, paint = _FAILOVER_STATES.get(failover["state"], (failover["state"].lower(), "yellow"))
    cells = [Cell(f"failover {failover['mode']}, {words}", paint)]
    last = seconds_since(failover.get("last_failover_time"), now)
    if last is not None:
        cells.append(Cell(f"last failover {duration(last)} ago"))
    if failover.get("failback_in_seconds") is not None:
        left = duration(failover["failback_in_seconds"])
        cells.append(Cell(f"fails back in {left} (stop it: `mltbctl failback --cancel`)", "yellow"))
    if (data.get("locks") or {}).get("held"):
        cells.append(Cell(f"{count(data['locks']['held'], 'lock')} held"))
    return cells


def _alerts(data: dict[str, Any]) -> list[str]:
    quorum, nodes = data["cluster"]["quorum"], data["nodes"]
    silent = [node["id"] for node in nodes if is_silent(node)]
    alerts = []
    if data["cluster"].get("paused"):
        alerts.append(_pause(data["cluster"]["paused"]))
    if data["cluster"]["state"] != "FORMING" and not quorum["has_quorum"]:
        alerts.append(_no_quorum(quorum, silent) if lacks_voters(quorum) else _no_leader(data))
    elif silent and quorum["has_quorum"]:
        verb = "does" if len(silent) == 1 else "do"
        alerts.append(f"{', '.join(silent)} {verb} not answer: see whether mltbd runs there")
    if quorum["has_quorum"]:
        mode = "paused" if data["cluster"].get("paused") else data["failover"]["mode"]
        alerts += [alert for workload in data["workloads"] if (alert := _workload_alert(workload, mode))]
        if quorum["voters"] == 2:
            alerts.append("two voters can lose no node: add a witness on a third machine (CLUSTER_ROLE=witness)")
    told = [_alert(each) for each in data.get("alerts") or [] if _kind(each) not in _OWN_WORDS]
    return alerts + told


def lacks_voters(quorum: dict[str, Any]) -> bool:
    """Without a quorum for want of voters; else for want of a leader alone."""
    return bool(quorum["reachable"] < quorum["needed"])


def _no_leader(data: dict[str, Any]) -> str:
    quorum, me = data["cluster"]["quorum"], data["view"]["node"]
    seen = f"{quorum['reachable']} of {quorum['voters']} voters answer it, {quorum['needed']} are needed"
    why = "an election is under way, or the way to the leader alone is cut"
    return f"{me} hears no leader, though {seen}: {why}; `mltbctl --node NODE status` tells what another node sees"


def _no_quorum(quorum: dict[str, Any], silent: list[str]) -> str:
    seen, voters = quorum["reachable"], quorum["voters"]
    what = f"no quorum: {seen} of {voters} voters can be reached, {quorum['needed']} are needed"
    means = "until then nothing is started or moved, and what runs stops when its lease ends"
    remedy = f"start mltbd on {' and '.join(silent)}, or mend the network between the nodes" if silent else ""
    return "; ".join(part for part in (what, means, remedy) if part)


def _workload_alert(workload: dict[str, Any], mode: str) -> str:
    name, owner = workload["name"], workload["owner"]
    if not workload.get("singleton", True):
        return _copy_alert(workload)
    if workload["state"] == "FAILED":
        why = f" ({workload['reason']})" if workload.get("reason") else ""
        again = f"`mltbctl failover --workload {name}`"
        return f"`{name}` has failed and is not tried again{why}: see its log, then run {again}"
    if owner is not None and workload["state"] == "UNKNOWN":
        if mode == "automatic":
            return f"`{name}` belongs to {owner}: another node starts it once the lease of {owner} has run out"
        return f"`{name}` belongs to {owner}, and failover is {mode}: run `mltbctl failover --workload {name}`"
    if owner is None:
        return f"`{name}` runs nowhere: `mltbctl failover --workload {name} --dry-run` tells why, node by node"
    return ""


def _copy_alert(copy: dict[str, Any]) -> str:
    name, owner = copy["name"], copy["owner"]
    node = name.rpartition("@")[2]
    if copy["state"] == "FAILED":
        why = f" ({copy['reason']})" if copy.get("reason") else ""
        again = f"`mltbctl node drain {node}` and `mltbctl node undrain {node}`"
        return f"`{name}` has failed and is not tried again{why}: see its log, then run {again}"
    if owner is not None and copy["state"] == "UNKNOWN":
        return f"`{name}` ends with its lease, and starts anew when {owner} is back"
    return f"`{name}` does not run at the moment" if owner is None else ""


def _pause(paused: dict[str, Any] | bool) -> str:
    told = paused if isinstance(paused, dict) else {}
    words = ": ".join(part for part in (told.get("by"), told.get("reason")) if part)
    left = told.get("remaining_seconds")
    ends = f", ends in {duration(left)}" if left is not None else ""
    return f"no automatic moves: paused{f' by {words}' if words else ''}{ends} (`mltbctl resume`)"


def _kind(alert: dict[str, Any] | str) -> str:
    return "" if isinstance(alert, str) else str(alert.get("kind", ""))


def _alert(alert: dict[str, Any] | str) -> str:
    return alert if isinstance(alert, str) else str(alert.get("message", alert))
