"""Verdicts on a cluster from what its nodes told: pure functions, facts in, findings out. Worst first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from mltbctl.facts import UNREADABLE
from mltbctl.overview import lacks_voters
from mltbctl.words import count, duration

PROBLEM, WARNING, NOTE, OK = "problem", "warning", "note", "ok"
LEVELS = (PROBLEM, WARNING, NOTE, OK)
RHO_PPM = 1000.0
"""Clocks that differ more than this in rate break the arithmetic of the lease (daemon/DESIGN.md, "The promise")."""
RATE_NOTABLE_PPM = 300.0
OFFSET_NOTABLE_S = 1.0
LAG_NOTABLE_S = 0.1
DISK_NOTABLE_MS = 100.0
FREE_LOW_PERCENT, FREE_NEEDED_PERCENT = 5.0, 1.0
SHARE_OF_LEASE = 0.25
"""A loop, a disk or a round trip slower than this part of the lease endangers its renewal."""
LEASE_S = 3.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `node` is empty where it concerns the cluster."""

    level: str
    check: str
    node: str
    message: str
    hint: str = ""

    def data(self) -> dict[str, str]:
        return asdict(self)


def asked(status: dict[str, Any], survey: dict[str, Any]) -> dict[str, Any]:
    """What each node told, None where it did not answer: also a voter that nobody has met since the viewer started."""
    return {**{node["id"]: None for node in status["nodes"] if node.get("voter")}, **survey["facts"]}


def diagnose(status: dict[str, Any], survey: dict[str, Any]) -> list[Finding]:
    """All findings, the worst first."""
    facts = {node: told for node, told in survey["facts"].items() if told is not None}
    found = [
        *quorum(status),
        *alerts(status),
        *silent(status, survey),
        *reach(survey),
        *secrets(facts),
        *agreement(facts),
    ]
    found += protocols(status, facts)
    for node, told in facts.items():
        found += [*loop_and_disk(node, told), *watched(node, told), *strangers(node, told)]
    found += clocks(survey)
    return sorted(found, key=lambda finding: LEVELS.index(finding.level))


def quorum(status: dict[str, Any]) -> Iterator[Finding]:
    """Who is there, and what may still be lost."""
    cluster = status["cluster"]
    votes = cluster["quorum"]
    told = f"{votes['reachable']} of {votes['voters']} voters, {votes['needed']} needed"
    lost = [node for node in status["nodes"] if node["state"] == "UNREACHABLE" or not node.get("answers", True)]
    who = ", ".join(_silent_since(node, status["view"]["node"]) for node in lost)
    if not votes["voters"]:
        waits = status["view"].get("waiting_for") or "nobody has founded it"
        yield Finding(
            NOTE, "quorum", "", f"{status['view']['node']} belongs to no cluster yet: {waits}", "mltbctl doctor --pre"
        )
    elif not votes["has_quorum"]:
        yield _without_quorum(status, told, who)
    elif cluster["failure_tolerance"] < 1:
        may = "no voter may be lost now" + (f" (silent: {who})" if who else "")
        yield Finding(WARNING, "quorum", "", f"{told}: {may}", "bring the silent ones back, or add a witness")
    else:
        yield Finding(OK, "quorum", "", f"{told}: {count(cluster['failure_tolerance'], 'node')} may be lost")


def _without_quorum(status: dict[str, Any], told: str, who: str) -> Finding:
    """A majority is lost only where too few voters answer, or their disks are new."""
    gone = any(alert.get("kind") == "wiped" for alert in status["alerts"])
    if not gone and not lacks_voters(status["cluster"]["quorum"]):
        what = f"{status['view']['node']} hears no leader, though {told}, answer it"
        remedy = "an election is under way, or its way to the leader alone is cut: `mltbctl --node NODE doctor`"
        return Finding(PROBLEM, "quorum", "", what, remedy)
    if who:
        why, first = f"silent: {who}", "start `mltbd` on one of them, or mend the network"
    elif gone:
        why, first = "the disks that voted are gone", "bring a disk that voted back"
    else:
        why, first = "nobody is silent, yet too few are heard", "see what else is found here"
    last = "only when they are gone for good, and last of all: `mltbctl recover --dry-run`"
    return Finding(PROBLEM, "quorum", "", f"the majority is lost: {told}; {why}", f"{first}; {last}")


def _silent_since(node: dict[str, Any], viewer: str) -> str:
    if node["last_seen_seconds"] is None:
        return f"{node['id']} at least since {viewer} started"
    return f"{node['id']} since {duration(node['last_seen_seconds'])}"


def alerts(status: dict[str, Any]) -> Iterator[Finding]:
    """What `status` warns of already, but for the quorum, which is told above."""
    for alert in status["alerts"]:
        if alert.get("kind") not in ("no_quorum", "forming"):
            yield Finding(WARNING, "status", "", alert["message"], "mltbctl status")


def silent(status: dict[str, Any], survey: dict[str, Any]) -> Iterator[Finding]:
    """Members that could not be asked."""
    for node, told in asked(status, survey).items():
        if told is None:
            heard_by = [
                other for other, facts in survey["facts"].items() if facts and _connected(facts, node) and other != node
            ]
            heard = f"heard by {', '.join(heard_by)} but " if heard_by else ""
            hint = f"on {node}: `mltbctl doctor`, and `mltbctl doctor --pre` where it does not run"
            here = survey["node"]
            if heard_by and here not in heard_by:
                hint = f"check that {here} and {node} can connect to both ports of each other"
            words = f"{heard}does not answer {here}"
            if survey["silent"].get(node) == UNREADABLE:
                words, hint = UNREADABLE, f"on {node}: `mltbctl doctor`, and `mltbd --version`"
            yield Finding(WARNING, "answers", node, words, hint)


def _hears(facts: dict[str, Any], other: str) -> bool:
    entry = facts["heard"].get(other)
    return entry is not None and entry["state"] != "UNREACHABLE"


def _connected(facts: dict[str, Any], other: str) -> bool:
    """It hears the other, and not only of it, through those that both are connected to."""
    return _hears(facts, other) and facts["heard"][other]["link"] != "down"


def reach(survey: dict[str, Any]) -> Iterator[Finding]:
    """Ways that are cut, in one direction or both, and links that end at a key."""
    facts = {node: told for node, told in survey["facts"].items() if told is not None}
    cut = 0
    for one, two in combinations(sorted(facts), 2):
        there, back = _connected(facts[one], two), _connected(facts[two], one)
        if there and back:
            continue
        cut += 1
        silent = not (_hears(facts[one], two) and _hears(facts[two], one))
        if not there and not back:
            how = "do not hear each other" if silent else "are not connected: they hear of each other through others"
            yield Finding(
                WARNING, "reach", one, f"{one} and {two} {how}",
                "check the firewall between them: both ports, both ways",
            )  # fmt: skip
        else:
            deaf, other = (one, two) if back else (two, one)
            how = f"hear {other}, though {other} hears" if silent else f"connect to {other}, though {other} connects to"
            yield Finding(
                WARNING, "reach", deaf, f"{deaf} does not {how} {deaf}",
                f"check that {deaf} can connect to both ports of {other}",
            )  # fmt: skip
    if len(facts) > 1 and not cut:
        yield Finding(OK, "reach", "", f"the {len(facts)} nodes that answer hear each other")
    for node, told in facts.items():
        for refusal in told["refused_by"]:
            who = f"{refusal['node']} ({refusal['address']})" if refusal["node"] else refusal["address"]
            yield Finding(
                PROBLEM,
                "secret",
                node,
                f"{who} takes {node}'s connections and ends them for their keys: it has another secret",
                "compare the fingerprints: `mltbctl secret show` on both",
            )
        slow_ms = SHARE_OF_LEASE * _lease_s(told) * 1000
        for other, entry in told["heard"].items():
            if entry["rtt_ms"] is not None and entry["rtt_ms"] > slow_ms:
                yield Finding(
                    WARNING, "rtt", node, f"{entry['rtt_ms']:.0f} ms to {other}, more than a quarter of the lease",
                    "raise CLUSTER_LEASE_DURATION on every node",
                )  # fmt: skip


def secrets(facts: dict[str, dict[str, Any]]) -> Iterator[Finding]:
    """One secret, or a change of it under way."""
    used = {told["secret"]["uses"] for told in facts.values()}
    turning = [node for node, told in facts.items() if told["secret"]["also"]]
    for node, told in facts.items():
        if told["secret"]["insecure"] and not told["secret"]["uses"]:
            yield Finding(
                WARNING, "secret", node, "open to everybody who can reach it", "run `mltbctl secret new` and use it"
            )
    if turning or len(used) > 1:
        yield Finding(
            WARNING, "secret", "", f"the secret is being changed: two are taken on {', '.join(turning) or 'no node'}",
            "see who is not ready: `mltbctl secret rotate --dry-run`",
        )  # fmt: skip
    elif used != {None} and facts:
        yield Finding(OK, "secret", "", f"all use the secret with fingerprint {used.pop()}")


def agreement(facts: dict[str, dict[str, Any]]) -> Iterator[Finding]:
    """Options and releases that differ between nodes."""
    differs = 0
    for name in sorted({name for told in facts.values() for name in told["options"]}):
        values: dict[str, list[str]] = {}
        for node, told in facts.items():
            if name in told["options"] or not name.startswith("workload."):  # Not every node has every workload.
                values.setdefault(_shown(told["options"].get(name)), []).append(node)
        if len(values) > 1:
            differs += 1
            told_values = "; ".join(f"{value} on {', '.join(nodes)}" for value, nodes in values.items())
            yield Finding(
                WARNING, "options", "", f"{name} differs: {told_values}", "make it the same, then reload or restart"
            )
    versions = {told["version"] for told in facts.values()}
    if len(versions) > 1:
        yield Finding(NOTE, "version", "", f"releases differ: {', '.join(sorted(versions))}", "finish the upgrade")
    if len(facts) > 1 and not differs:
        yield Finding(OK, "options", "", "the options that have to agree do")


def protocols(status: dict[str, Any], facts: dict[str, dict[str, Any]]) -> Iterator[Finding]:
    """Nodes of neighbouring versions, and what the level of the cluster waits for."""
    speak: dict[int, list[str]] = {}
    for node, told in facts.items():
        if "protocol" in told:
            speak.setdefault(told["protocol"]["newest"], []).append(node)
    agreed = status["cluster"].get("protocol") or {}
    level, waits = agreed.get("level"), agreed.get("waits")
    if len(speak) > 1:
        who = "; ".join(f"{newest} on {', '.join(nodes)}" for newest, nodes in sorted(speak.items()))
        stays = f"the level stays at {level} until all speak more" if level else "there is no level yet"
        yield Finding(
            NOTE, "protocol", "", f"the protocol differs: {who}: {stays}", "finish the upgrade, or take it back"
        )
    elif waits:
        yield Finding(
            NOTE, "protocol", "", f"the protocol is at level {level}: {waits}", "`mltbctl events` tells when it rises"
        )


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value)) or "(none)"
    return "(none)" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def loop_and_disk(node: str, told: dict[str, Any]) -> Iterator[Finding]:
    """Whether the node decides and saves in time."""
    limit_s = SHARE_OF_LEASE * _lease_s(told)
    lag = told["loop"]["worst_lag_seconds"]
    if lag > LAG_NOTABLE_S:
        level = PROBLEM if lag > limit_s else WARNING
        words = f"its loop was up to {lag:.2f} s late in the last {told['loop']['over_seconds']:.0f} s"
        yield Finding(level, "loop", node, words, "give it more CPU, or the workload less: `systemd-cgtop`")
    disk = told["disk"]
    slow = disk.get("fdatasync_ms")
    if "error" in disk:
        yield Finding(PROBLEM, "disk", node, f"its disk: {disk['error']}", "see `dmesg` there")
    elif slow is not None and slow > DISK_NOTABLE_MS:
        level = PROBLEM if slow > limit_s * 1000 else WARNING
        yield Finding(level, "disk", node, f"fdatasync takes {slow:.0f} ms", "move the state directory to another disk")
    elif slow is not None:
        yield Finding(OK, "disk", node, f"fdatasync takes {slow:.1f} ms, {disk.get('free_percent', 0):.0f} % free")
    free = disk.get("free_percent")
    if free is not None and free < FREE_LOW_PERCENT:
        level = PROBLEM if free < FREE_NEEDED_PERCENT else WARNING
        yield Finding(level, "disk", node, f"{free:.1f} % of its disk is free", "make room: a full disk stops the node")


def _lease_s(told: dict[str, Any]) -> float:
    return float(told["options"].get("CLUSTER_LEASE_DURATION") or LEASE_S)


def watched(node: str, told: dict[str, Any]) -> Iterator[Finding]:
    """What stands behind the daemon: guard, cgroup, service manager."""
    guard, systemd = told["guard"], told["systemd"]
    if guard["kill_path"] == "walk":
        yield Finding(
            NOTE, "guard", node, "kills by walking the process table: no cgroup of its own",
            "`mltbctl service install` gives it one",
        )  # fmt: skip
    if guard["daemon_restarts"]:
        yield Finding(
            NOTE, "guard", node, f"its daemon was started anew {count(guard['daemon_restarts'], 'time')}",
            "`journalctl -u mltbd` says why",
        )  # fmt: skip
    if systemd["supervised"] and not systemd["watchdog_seconds"]:
        yield Finding(NOTE, "systemd", node, "its unit has no WatchdogSec", "`mltbctl service show` has one")
    elif systemd["supervised"]:
        yield Finding(OK, "systemd", node, f"a watchdog of {systemd['watchdog_seconds']:g} s stands behind it")


def counted(survey: dict[str, Any]) -> Iterator[Finding]:
    """Nothing to judge: what each node has counted since its daemon started, for whoever looks for a cause."""
    for node, told in survey["facts"].items():
        if told is not None and told.get("counted"):  # A daemon of an earlier release does not tell it.
            yield Finding(OK, "counted", node, ", ".join(f"{what} {n}" for what, n in sorted(told["counted"].items())))


def strangers(node: str, told: dict[str, Any]) -> Iterator[Finding]:
    """Frames and connections that should not be."""
    counted = told["counters"]
    if counted["own_name"]:
        yield Finding(
            PROBLEM, "name", node, f"heard {count(counted['own_name'], 'message')} in its own name lately",
            f"another node is called {node}, or a seed leads to itself",
        )  # fmt: skip
    if counted.get("misdelivered"):  # A daemon of an earlier release does not count it.
        yield Finding(
            NOTE, "address", node, f"heard {count(counted['misdelivered'], 'message')} meant for another node lately",
            "its name, or the address others know it by, leads here: see `mltbctl nodes`",
        )  # fmt: skip
    if counted["wrong_cluster"]:
        yield Finding(
            WARNING, "cluster", node, f"heard {count(counted['wrong_cluster'], 'message')} of another cluster lately",
            "two clusters share a secret and a seed: give each its own",
        )  # fmt: skip
    if counted["auth_denied"]:
        yield Finding(
            NOTE, "keys", node, f"refused the key of {count(counted['auth_denied'], 'connection')} lately",
            "somebody has an old or another secret",
        )  # fmt: skip


def clocks(survey: dict[str, Any]) -> Iterator[Finding]:
    """Rates matter to the lease, offsets to people only."""
    me, measured = survey["node"], 0
    for node, clock in survey["clocks"].items():
        if clock["rate_ppm"] is not None:
            measured += 1
            off = abs(clock["rate_ppm"]) - clock["rate_error_ppm"]
            if off > RATE_NOTABLE_PPM:
                yield Finding(
                    PROBLEM if off > RHO_PPM else WARNING,
                    "clock",
                    node,
                    f"its clock runs {clock['rate_ppm']:+.0f} ppm against {me}'s; the lease allows {RHO_PPM:.0f}",
                    "check the clock source of the machine or its hypervisor",
                )
        off_s = abs(clock["offset_seconds"]) - clock["offset_error_seconds"]
        if off_s > OFFSET_NOTABLE_S:
            yield Finding(
                NOTE, "clock", node, f"its time of day is {clock['offset_seconds']:+.1f} s from {me}'s",
                "set it by NTP: nothing is decided by it, but logs cannot be compared",
            )  # fmt: skip
    if measured and measured == len(survey["clocks"]):
        yield Finding(OK, "clock", "", f"{me} has compared its rate with {count(measured, 'clock')}")
