"""`mltbctl secret rotate`: change the secret of a running cluster in three steps, each only when all are ready for it.

add: every node takes the new secret beside the old one. switch: each uses the new one and still takes the old one.
drop: the old one is gone. The secret file knows which step comes next; the nodes are asked whether it is safe.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mltbctl.commands.secret import needed
from mltbctl.diagnosis import asked
from mltbctl.errors import CliError, MltbError, Refused
from mltbctl.facts import readable
from mltbctl.result import Result, Style

if TYPE_CHECKING:
    from mltb_transport.keys import Secrets
    from mltbctl.session import Session

STEPS = ("add", "switch", "drop")
_DONE = {
    "add": "this node takes the new secret as well",
    "switch": "this node uses the new secret, and still takes the old one",
    "drop": "this node has forgotten the old secret",
}
_BY_HAND = "by hand: CLUSTER_SECRET_SECOND holds the other one; the steps stand in transport/DESIGN.md"


@dataclass(frozen=True, slots=True)
class Plan:
    """One step: the secret file before and after it."""

    step: str
    before: Secrets
    after: Secrets


def plan(now: Secrets) -> Plan:
    """The step that comes next for a file like this."""
    from mltb_transport.keys import NEXT, PREVIOUS, Secrets, new_secret

    if now.which == NEXT:
        return Plan("switch", now, Secrets(now.other, now.used, PREVIOUS))
    if now.which == PREVIOUS:
        return Plan("drop", now, Secrets(now.used))
    return Plan("add", now, Secrets(now.used, new_secret(), NEXT))


def lagging(step: Plan, facts: dict[str, Any], without: Collection[str]) -> dict[str, str]:
    """The nodes that this step would cut off, and why. Empty: it is safe."""
    from mltb_transport.access import fingerprint

    used = fingerprint(step.before.used)
    other = fingerprint(step.before.other) if step.before.other else None
    found = {}
    for node, told in facts.items():
        if node in without:
            continue
        if told is None:
            found[node] = "does not answer"
            continue
        uses, takes = told["secret"]["uses"], {told["secret"]["uses"], told["secret"]["also"]}
        if step.step == "add" and uses != used:
            found[node] = "uses another secret"
        elif step.step == "switch" and not {used, other} <= takes:
            found[node] = "does not take both secrets yet"
        elif step.step == "drop" and uses != used:
            found[node] = "still uses the old secret"
    return found


def rotate(session: Session, config: str, without: Collection[str], *, dry_run: bool) -> Result:
    """Take the next step on this node. Refused while it would cut another node off."""
    from mltb_transport.keys import Secrets

    found = needed(config)
    if not found.file:
        raise CliError(f"the secret is not in a file of its own: {found.origin}", _BY_HAND, code="usage")
    step = plan(Secrets(found.text, found.other, found.which))
    with session.client() as client:
        survey = readable(client.survey(quick=True))
        facts = asked(client.status(), survey)
        behind = lagging(step, facts, without)
        others = [node for node in facts if node != survey["node"] and node not in without]
        if behind and not dry_run:
            raise Refused(
                f"not yet time for step `{step.step}`: {', '.join(f'{node} {why}' for node, why in behind.items())}",
                f"copy `{found.file}` to each and reload it; leave a node that is gone for good out with `--without`",
                details={"step": step.step, "behind": behind},
            )
        data = {
            "step": step.step, "file": found.file, "node": survey["node"], "others": others, "behind": behind,
            "dry_run": dry_run,
        }  # fmt: skip
        if not dry_run:
            replace_file(Path(found.file), step.after.text())
            try:
                client.reload()
            except MltbError as error:  # The step is taken all the same: the file says so.
                session.say(f"{survey['node']} could not be told: {error.message}; run `mltbctl service reload` here")
    return Result(data, lambda style: told(data, style))


def told(data: dict[str, Any], style: Style) -> str:
    """What was done, and what is to be done now."""
    number = STEPS.index(data["step"]) + 1
    lines = [f"{style.bold(f'step {number} of {len(STEPS)}')}  {data['step']}"]
    if data["dry_run"]:
        lines += [f"  {node} {why}" for node, why in data["behind"].items()] or ["  every node is ready for it"]
        return "\n".join(lines)
    lines.append(f"  {_DONE[data['step']]}")
    if data["others"]:
        lines.append(f"  now copy {data['file']} to {', '.join(data['others'])} (mode 600), and on each,")
        lines.append("  one after the other, run `mltbctl service reload`")
    if number < len(STEPS):
        lines.append(f"  then run `mltbctl secret rotate` again for step {number + 1}")
    else:
        lines.append("  then give out new viewer and admin keys: `mltbctl secret show --viewer`")
    return "\n".join(lines)


def replace_file(path: Path, text: str) -> None:
    """The new content or the old one, whatever happens; owner and mode stay."""
    path = path.resolve()
    fresh = path.with_name(f".{path.name}.new")
    try:
        before = path.stat()
        fresh.unlink(missing_ok=True)
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, before.st_mode & 0o700)
        try:
            if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(fd, before.st_uid, before.st_gid)
            os.write(fd, text.encode("ascii"))
            os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(fresh, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise CliError(f"cannot write `{path}`: {(error.strerror or '').lower()}", "nothing was changed") from None
