"""`mltbctl node show`, `drain` and `undrain`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mltb_transport.addresses import spelled
from mltbctl.errors import CliError, MltbError
from mltbctl.operation import CALL_S, FOLLOW_S, WAITED_OUT, check_reason
from mltbctl.overview import is_known, is_silent
from mltbctl.result import ExitCode, Result
from mltbctl.words import ago, duration

if TYPE_CHECKING:
    from mltbctl.client import Client
    from mltbctl.result import Style
    from mltbctl.session import Session

POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Drain:
    """Which node the operator wants emptied, and how."""

    node: str
    reason: str = ""
    force: bool = False
    dry_run: bool = False
    wait: bool = True


def show(client: Client, name: str) -> Result:
    """One member, and the workloads it owns."""
    data = client.status()
    found = _member(data, name)
    owned = [each for each in data["workloads"] if each["owner"] == name]
    return Result(
        {"view": data["view"], "node": found, "workloads": owned, "protocol": data["cluster"].get("protocol")},
        lambda style: "\n".join(_lines(found, owned, data["cluster"], style)),
    )


def _member(data: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] | None = next((each for each in data["nodes"] if each["id"] == name), None)
    if found is None:
        known = ", ".join(each["id"] for each in data["nodes"])
        raise CliError(f"no node `{name}` here, only {known}", "run `mltbctl nodes`", code="usage")
    return found


def _lines(node: dict[str, Any], owned: list[dict[str, Any]], cluster: dict[str, Any], style: Style) -> list[str]:
    runs = [("runs", f"{each['name']} {each['state'].lower()}, token {each['token']}") for each in owned]
    if not is_known(node):
        rows = [
            ("node", style.bold(node["id"])),
            ("role", "has a vote"),
            ("state", "not met since the asked one started"),
        ]
        return [f"{name.ljust(10)} {value}" for name, value in [*rows, *runs]]
    leads = node["id"] == cluster["leader"]
    drained = node.get("drained")
    seen = f"{ago(node['last_seen_seconds'])} ago"
    rows = [
        ("node", style.bold(node["id"])),
        ("role", node["role"] + (", leads" if leads else "") + ("" if node.get("voter", True) else ", has no vote")),
        ("state", "no answer" if is_silent(node) else node["state"].lower()),
        ("health", "unknown" if is_silent(node) else node["health"].lower()),
        ("priority", str(node["priority"])),
        ("address", spelled(node["address"], node["port"])),
        ("last seen", "now" if seen == "now ago" else seen),
        ("log", f"applied {node['applied_index']}" + (f", {node['lag']} behind" if node["lag"] is not None else "")),
        ("version", node["version"]),
    ]
    if told := protocol_words(node, cluster):
        rows.append(("protocol", told))
    rows += [("trouble", trouble) for trouble in node.get("troubles") or []]
    if drained:
        why = f": {drained['reason']}" if drained["reason"] else ""
        rows.append(("drained", f"since {drained['since']} by {drained['by']}{why}"))
    return [f"{name.ljust(10)} {value}" for name, value in [*rows, *runs]]


def protocol_words(node: dict[str, Any], cluster: dict[str, Any]) -> str:
    """What it speaks and where the cluster is; empty where an older daemon was asked."""
    speaks, agreed = node.get("protocol"), cluster.get("protocol")
    if not speaks or not agreed:
        return ""
    oldest, newest = speaks["oldest"], speaks["newest"]
    words = f"{newest}" if oldest == newest else f"{oldest} to {newest}"
    level = agreed["level"]
    return f"{words}, the cluster is at level {level}" if level else words


def drain(session: Session, wish: Drain) -> Result:
    """Empty the node, and follow it until it is empty."""
    check_reason(wish.reason)
    with session.client(CALL_S) as client:
        before = {each["name"] for each in client.status()["workloads"] if each["owner"] == wish.node}
        answer = client.drain(wish.node, reason=wish.reason, force=wish.force, dry_run=wish.dry_run)
        session.tell_endpoint(client)
        data = {"node": wish.node, "drained": True, "changed": answer["changed"], "at": answer["at"]}
        if wish.dry_run:
            return Result({**data, "drained": False, "dry_run": True}, f"it could be done: {answer['message']}")
        if not wish.wait or wish.force:
            return Result({**data, "empty": None}, answer["message"])
        return _follow(session, client, data, before)


def undrain(client: Client, name: str) -> Result:
    """The node takes workloads again."""
    answer = client.undrain(name)
    return Result({"node": name, "drained": False, "changed": answer["changed"], "at": answer["at"]}, answer["message"])


def _follow(session: Session, client: Client, data: dict[str, Any], before: set[str]) -> Result:
    name = data["node"]
    limit_s = session.settings.timeout_s or FOLLOW_S
    began = time.monotonic()
    told: list[str] | None = None
    try:
        while True:
            try:
                left = leftovers(client.status(), name, before)
            except MltbError as error:
                if error.code not in WAITED_OUT:
                    raise
                left = [error.message]
            if not left:
                spent = duration(time.monotonic() - began)
                return Result({**data, "empty": True}, f"{name} is empty and stays so until undrained (took {spent})")
            if left != told:
                told = left
                session.say(f"  {session.talk.glyph('waiting')} {name}: {', '.join(left)}")
            if time.monotonic() - began > limit_s:
                raise CliError(
                    f"not empty within {limit_s:g} s: {', '.join(left)}; the drain goes on",
                    "run `mltbctl status` to see how it ends",
                    code="timeout",
                    details={"node": name, "at": data["at"]},
                )
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        session.say(f"detached: {name} is being drained, see `mltbctl status`")
        return Result({**data, "empty": False}, "", ExitCode.INTERRUPTED)


def leftovers(data: dict[str, Any], name: str, before: set[str]) -> list[str]:
    """What has not left the node, or of what was there `before` not arrived elsewhere, in words.

    Leadership counts only while another voter could take it.
    """
    left = [f"`{each['name']}` has not left" for each in data["workloads"] if each["owner"] == name]
    moving = [each["name"] for each in data["workloads"] if each["owner"] is None and each["name"] in before]
    left += [f"`{each}` is on its way" for each in moving]
    heirs = [each for each in data["nodes"] if each["id"] != name and _could_lead(each)]
    if data["cluster"]["leader"] == name and heirs:
        left.append("it leads")
    return left


def _could_lead(node: dict[str, Any]) -> bool:
    return bool(node.get("voter")) and not is_silent(node) and not node.get("drained") and node["state"] != "LEAVING"
