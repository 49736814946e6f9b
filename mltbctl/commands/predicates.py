"""`mltbctl is` and `mltbctl wait`: yes or no for scripts, and waiting for yes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from mltbctl.errors import CliError, MltbError
from mltbctl.result import ExitCode, Result
from mltbctl.words import duration

if TYPE_CHECKING:
    from mltbctl.client import Client

POLL_S = 0.2
_WORDS = {True: "true", False: "false", None: "unknown"}
_FINAL = ("usage", "auth")  # failures that waiting does not mend


def is_(client: Client, what: str, node: str | None) -> Result:
    """Is it so? Exit code 0 yes, 1 no, 5 cannot tell."""
    verdict = client.verdict(what, node)
    answer = verdict["answer"]
    code = ExitCode.REFUSED if answer is None else ExitCode.DONE if answer else ExitCode.FAILED
    return Result({"what": what, "node": node, **verdict}, _WORDS[answer], code)


def wait(client: Client, what: str, node: str | None, timeout_s: float | None) -> Result:
    """Return as soon as it is so; None waits for ever. A daemon that is not there yet is waited for too."""
    began = time.monotonic()
    while True:
        answer, reason = _look(client, what, node)
        waited_s = time.monotonic() - began
        if answer:
            data = {
                "what": what,
                "node": node,
                "answer": True,
                "reason": reason,
                "waited_seconds": round(waited_s, 3),
            }
            return Result(data, f"{reason} (waited {duration(waited_s)})")
        if timeout_s is not None and waited_s + POLL_S > timeout_s:
            raise CliError(
                f"not {what} within {timeout_s:g} s: {reason}", "run `mltbctl status`", code="timeout"
            )  # fmt: skip
        time.sleep(POLL_S)


def _look(client: Client, what: str, node: str | None) -> tuple[bool, str]:
    try:
        if node is not None:
            verdict = client.verdict(what, node)
            return verdict["answer"] is True, verdict["reason"]
        return seen(client.status(), what)
    except MltbError as error:
        if error.code in _FINAL:
            raise
        return False, error.message


def seen(data: dict[str, Any], what: str) -> tuple[bool, str]:
    """Does the status `data` show a leader, a running primary, or health; and the reason in words."""
    cluster = data["cluster"]
    if what == "leader":
        leader = cluster["leader"]
        return leader is not None, f"{leader} leads" if leader else "no leader"
    if what == "healthy":
        healthy = cluster["state"] == "STABLE"
        return healthy, "the cluster is healthy" if healthy else f"the cluster is {cluster['state'].lower()}"
    idle = [each for each in data["workloads"] if each["owner"] is None or each["state"] != "RUNNING"]
    if idle or not data["workloads"]:
        names = ", ".join(f"`{each['name']}`" for each in idle) or "no workload"
        return False, f"{names} does not run" if idle else "no workload is configured"
    return True, ", ".join(f"`{each['name']}` runs on {each['owner']}" for each in data["workloads"])
