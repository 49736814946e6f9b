"""The story of one event in plain words: what was lost, who noticed, why this node, how long each step took."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mltbctl.tables import wrapped

if TYPE_CHECKING:
    from mltbctl.result import Style

BAR_COLUMNS_MIN, BAR_COLUMNS = 8, 32
LABEL = 10
AROUND_BAR = LABEL + 14  # label, seconds and the blanks between
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_PLANNED = ("switchover", "failback", "handover", "rollback")


def story(told: dict[str, Any], style: Style) -> str:
    """`told` is the answer to `event`: the event, null when nothing happened, and what belongs to it."""
    event = told["event"]
    if event is None:
        return nothing(told)
    lines = [style.bold(sentence(event)), style.dim(_head(event)), ""]
    bars = waterfall(event, told, style)
    if bars:
        lines += [*bars, ""]
    for label, text in facts(told):
        lines += wrapped(text, style, f"{label.ljust(LABEL)}", LABEL)
    return "\n".join(lines)


def sentence(event: dict[str, Any]) -> str:
    """What happened, in the daemon's own words."""
    return str(event["text"])


def nothing(told: dict[str, Any]) -> str:
    """Nothing happened: that is an answer too."""
    founding = told.get("founding")
    since = f" since the cluster was founded at {founding['at']}" if founding else " that is remembered"
    places = [
        f"`{each['workload']}` has been on {each['owner']} since {each['since']}"
        for each in told.get("placements", [])
        if each["owner"]
    ]
    text = f"nothing happened{since}: no workload moved and no leader was lost"
    return "\n".join([text, *places])


def _head(event: dict[str, Any]) -> str:
    parts = [f"event {event['id']}", str(event["at"]), f"term {event['term']}"]
    if event.get("token"):
        parts.append(f"token {event['token']}")
    if event["state"] != "done":
        parts.append(event["state"])
    return "   ".join(parts)


# -- how long each step took -------------------------------------------------------------------------------------


def waterfall(event: dict[str, Any], told: dict[str, Any], style: Style) -> list[str]:
    """A line per phase: its bar begins where the one before it ended. Empty when nothing was measured."""
    phases = event["phases"]
    whole = sum(phase["seconds"] for phase in phases)
    words = [_phase_words(phase["name"], event, told) for phase in phases]
    room = style.width - AROUND_BAR - max(map(len, words), default=0)
    columns = min(max(room, BAR_COLUMNS_MIN), BAR_COLUMNS)  # The words come first: they say what the bars show.
    lines = []
    began = 0.0
    for phase, said in zip(phases, words, strict=True):
        bar = _bar(began, phase["seconds"], whole, columns, style)
        seconds = f"{phase['seconds']:.2f}s"
        line = f"  {phase['name'].ljust(LABEL)}{bar} {seconds.rjust(8)}   "
        lines += wrapped(said, style, line, len(line)) if said else [line.rstrip()]
        began += phase["seconds"]
    return lines


def _bar(began: float, seconds: float, whole: float, columns: int, style: Style) -> str:
    if whole <= 0:
        return " " * columns
    first = min(int(began / whole * columns), columns - 1)
    length = seconds / whole * columns
    full = min(int(length + 0.5), columns - first)
    if full or not seconds:
        drawn = ("█" if style.unicode else "#") * full
    else:
        drawn = _EIGHTHS[max(1, int(length * 8))] if style.unicode else "|"
    return " " * first + drawn.ljust(columns - first)


def _phase_words(name: str, event: dict[str, Any], told: dict[str, Any]) -> str:
    lost, taker = event["from"] or "nobody", event["to"] or "the next owner"
    noticed = event["leader"] or "the leader"
    if event["kind"] == "election":
        words = {
            "detect": f"the voters heard nothing of {lost}",
            "election": f"{taker} asked for votes and got them: {' '.join(event['votes'])}",
        }
        return words.get(name, "")
    election = told.get("election")
    votes = f": {' '.join(election['votes'])}" if election else ""
    return {
        "detect": f"from the last sign of life of {lost} until it was missed",
        "election": f"{noticed} was elected{votes}",
        "lease": f"until {lost} had stopped for certain",
        "order": "until an operator decided",
        "stop": f"{lost} stopped it and gave the token back",
        "grant": f"{noticed} placed it on {taker}",
        "start": f"{taker} started it",
    }.get(name, "")


# -- the rest ----------------------------------------------------------------------------------------------------


def facts(told: dict[str, Any]) -> list[tuple[str, str]]:
    """Label and words, in the order in which they are asked for."""
    event = told["event"]
    found = [("lost", _lost(told)), ("noticed", _noticed(told)), ("why", event.get("choice") or "")]
    found.append(("down", _down(told)))
    found.append(("by hand", _by_hand(event)))
    if event.get("error"):
        found.append(("failed", event["error"]))
    if told.get("followed_by"):
        after = told["followed_by"]
        found.append(("then", f"{after['text']} (event {after['id']})"))
    return [(label, text) for label, text in found if text]


def _lost(told: dict[str, Any]) -> str:
    event, release = told["event"], told.get("release")
    if event["kind"] == "failover" and not release and (_fell_silent(event) or not event["operator"]):
        return f"{event['from']}, which ran `{event['workload']}`" + (" and led the cluster" if _led(told) else "")
    if release:
        return f"nothing: {release['text']} (event {release['id']})"
    if event["kind"] == "election" and event["from"] not in (None, event["to"]) and event["cause"] != "transfer":
        return f"{event['from']}, the leader before"
    return ""


def _fell_silent(event: dict[str, Any]) -> bool:
    """Whether the lease of the owner was waited for: it stopped nothing by itself that anybody heard of."""
    return any(phase["name"] == "lease" for phase in event["phases"])


def _led(told: dict[str, Any]) -> bool:
    election = told.get("election")
    return election is not None and election["from"] == told["event"]["from"]


def _noticed(told: dict[str, Any]) -> str:
    event, election = told["event"], told.get("election")
    if event["kind"] == "election":
        return {
            "broken": f"{event['to']}, when its connection to {event['from']} broke",
            "silence": f"{event['to']}, as it had not heard {event['from'] or 'any leader'} for too long",
            "restart": f"{event['to']}, which began anew and heard no leader",
            "transfer": f"nobody had to: {event['from']} handed over",
        }.get(event["cause"] or "", "")
    if election is not None and _led(told):
        return f"{' '.join(election['votes'])}, who elected {election['to']} (event {election['id']})"
    if _fell_silent(event):
        return f"{event['leader']}, the leader of term {event['term']}, by its silence"
    return ""


def without_bound(event: dict[str, Any]) -> bool:
    """Whether it was down, and nobody knows since when."""
    return event.get("downtime_seconds") is None and event.get("downtime_at_least_seconds") is not None


def _down(told: dict[str, Any]) -> str:
    event = told["event"]
    if without_bound(event):
        release = told.get("release") or {}
        unknown = {
            "leaving": f"{event['from']} did not say since when it was stopping it",
            "failed": f"{event['from']} did not say since when it was failing there",
            "restarted": f"{event['from']} began anew and does not know since when",
        }.get(release.get("cause") or "", "nobody who lives knows since when")
        least = f"{event['downtime_at_least_seconds']:.2f}s"
        return f"for an unknown time: {unknown}" if least == "0.00s" else f"at least {least}; {unknown}"
    if event.get("downtime_seconds") is None:
        return ""
    seconds = f"{event['downtime_seconds']:.2f}s"
    if (event["kind"] in _PLANNED or event["operator"]) and not _fell_silent(event):
        return f"at most {seconds}, of which it may have run on for a part while it was being stopped"
    return f"at most {seconds}, counted from the last sign of life"


def _by_hand(event: dict[str, Any]) -> str:
    if not event.get("operator"):
        return "nothing"
    reason = f": {event['reason']}" if event.get("reason") else ""
    return f"asked for by {event['operator']}{reason}"
