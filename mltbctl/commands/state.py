"""`mltbctl state get|set|delete|cas|list|watch`: the replicated key-values, with values as text or JSON."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

from mltbctl.errors import CliError, MltbError, Refused
from mltbctl.render import failure_text, print_one_of_many
from mltbctl.result import ExitCode, Result
from mltbctl.tables import Cell, Column, table
from mltbctl.words import as_known

if TYPE_CHECKING:
    from mltbctl.client import Client
    from mltbctl.result import Style
    from mltbctl.session import Session
    from mltbctl.store_client import Change, Conflict, Entry, Watch

RETRY_S = 1.0
QUIET_S = 2.0
"""After so long without a change a watch looks why."""
STDIN = "-"
VALUE_BYTES_MAX = 1024 * 1024
"""Of what is read from stdin; the daemon's own limit is lower and has its own words."""
_HINT = "run `mltbctl state set --help`"
_PASSING = ("unreachable", "unavailable", "timeout", "no_quorum", "overloaded")
_COLUMNS = (Column("KEY"), Column("VERSION", right=True, gives_way=1), Column("VALUE"))


def value_of(text: str) -> Any:
    """What is meant by `text` on the command line: JSON where it is JSON, else the text itself; `-` reads stdin."""
    if text == STDIN:
        text = _read_stdin()
    try:
        text.encode()
    except UnicodeEncodeError:
        raise CliError("the value is not UTF-8 text", _HINT, code="usage") from None
    try:
        return json.loads(text, parse_constant=_not_json, parse_float=_finite)
    except (ValueError, RecursionError):
        return text


def _read_stdin() -> str:
    try:
        return sys.stdin.read(VALUE_BYTES_MAX).removesuffix("\n")
    except UnicodeDecodeError:
        raise CliError("the value on stdin is not UTF-8 text", _HINT, code="usage") from None
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise CliError(f"cannot read the value from stdin: {why}", _HINT, code="usage") from None


def _not_json(word: str) -> Any:
    raise ValueError(word)  # NaN and the infinities are Python's, not JSON's.


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise ValueError(digits)
    return number


def guard_of(client: Client, token: int | None, lock: str) -> tuple[str, int] | None:
    """The lock a write depends on, from `--token` and `--lock`. Without a name it is the one that has the token now:
    no two locks have the same."""
    if token is None:
        return None
    if not lock:
        names = [held["name"] for held in client.locks.list() if held["token"] == token]
        if not names:
            raise Refused(f"no lock is held with token {token}", "run `mltbctl lock list`")
        lock = names[0]
    return lock, token


def get(session: Session, client: Client, key: str, *, stale: bool) -> Result:
    """The value of a key; exit code 1 where there is none."""
    entry = client.state.get(key, stale=stale)
    if entry is None:
        session.say(f"no key `{key}`" + (" as far as this node knows" if stale else ""))
        return Result({"key": key, "value": None, "version": 0}, "", ExitCode.FAILED)
    if stale:
        session.say(session.talk.dim(as_known(entry.age_seconds)))
    return Result(_data_of(entry), shown(entry.value))


def _data_of(entry: Entry) -> dict[str, Any]:
    data = {"key": entry.key, "value": entry.value, "version": entry.version, "revision": entry.revision}
    return data if entry.age_seconds is None else {**data, "stale": True, "age_seconds": entry.age_seconds}


def set_(
    session: Session, client: Client, key: str, value: Any, if_version: int | None, guard: tuple[str, int] | None
) -> Result:
    """Write a key; exit code 1 when it has not the version asked for."""
    from mltbctl.store_client import Conflict

    state = client.state
    if if_version is None:
        return _written(state.set(key, value, token=guard))
    outcome = state.compare_and_swap(key, if_version, value, token=guard)
    if isinstance(outcome, Conflict):
        return _conflict(session, key, if_version, outcome)
    return _written(outcome)


def delete(session: Session, client: Client, key: str, if_version: int | None, guard: tuple[str, int] | None) -> Result:
    """Remove a key; exit code 1 where there was none, or not in that version."""
    outcome = client.state.delete(key, expected_version=if_version, token=guard)
    if not isinstance(outcome, bool):
        return _conflict(session, key, if_version or 0, outcome)
    if not outcome:
        session.say(f"no key `{key}`")
    code = ExitCode.DONE if outcome else ExitCode.FAILED
    return Result({"key": key, "deleted": outcome}, f"deleted {key}" if outcome else "", code)


def list_(session: Session, client: Client, prefix: str, *, stale: bool, limit: int | None) -> Result:
    """The keys that begin with a prefix, in order, with their values."""
    entries = client.state.list(prefix, stale=stale, limit=limit)
    data: dict[str, Any] = {"entries": [_data_of(entry) for entry in entries], "revision": entries.revision}
    if stale:
        data |= {"stale": True, "age_seconds": entries.age_seconds}
        session.say(session.talk.dim(as_known(entries.age_seconds)))
    cells = [[Cell(entry.key), Cell(str(entry.version)), Cell(_one_line(entry.value))] for entry in entries]
    return Result(data, lambda style: "\n".join(table(_COLUMNS, cells, style, indent=0)), rows="entries")


def watch(session: Session, client: Client, prefix: str, after: int | None, limit: int | None) -> None:
    """Print each change as it happens, until Ctrl-C or `limit` changes. A daemon that is away is waited for."""
    changes = client.state.watch(prefix, after=after, idle=QUIET_S)
    silence = _Silence(session, client)
    if after is None:
        silence.met()
        session.say(session.talk.dim(f"changes after revision {changes.revision}; Ctrl-C ends"))
    told = 0
    while limit is None or told < limit:
        change = _next(session, changes, silence)
        told += 1
        data = {
            "key": change.key, "value": change.value, "version": change.version, "revision": change.revision,
            "kind": change.kind,
        }  # fmt: skip
        print_one_of_many(Result(data, _changed(change, session.out)), session.output, session.out)


def _next(session: Session, changes: Watch, silence: _Silence) -> Change:
    while True:
        try:
            change = next(changes)
        except StopIteration:
            silence.met()
            silence.explain(changes.revision)
        except MltbError as error:
            if error.code not in _PASSING:
                raise
            session.say(failure_text(error, session.talk))
            time.sleep(RETRY_S)
        else:
            silence.met()
            return change


class _Silence:
    """Why no change comes, as far as that is not just so: each reason once."""

    def __init__(self, session: Session, client: Client) -> None:
        self._session = session
        self._client = client
        self._met = False
        self._compared = False
        self._quorate = True

    def met(self) -> None:
        """The daemon has answered."""
        if not self._met:
            self._met = True
            self._session.tell_endpoint(self._client)

    def explain(self, after: int) -> None:
        """Nothing has come for a while. `after`: the revision behind which changes are waited for."""
        try:
            quorate = self._client.is_("quorate")
        except MltbError:
            return  # It is the watch that says what is wrong with the daemon.
        if quorate is False and self._quorate:
            self._say("there is no quorum, so nothing changes until there is one again")
        self._quorate = quorate is not False
        if self._quorate and not self._compared:
            self._compare(after)

    def _compare(self, after: int) -> None:
        """The present revision is known where there is a quorum, and nowhere else."""
        try:
            present = self._client.state.watch().revision
        except MltbError:
            return
        self._compared = True
        if after > present:
            self._say(f"revision {after} is still to come, it is {present} now: what changes until then is not shown")

    def _say(self, text: str) -> None:
        self._session.say(self._session.talk.dim(text))


def shown(value: Any) -> str:
    """A value for people and scripts: text as it is, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _one_line(value: Any) -> str:
    text = shown(value)
    return text if text.isprintable() else json.dumps(value, ensure_ascii=False)


def _written(entry: Entry) -> Result:
    data = {"key": entry.key, "version": entry.version, "revision": entry.revision}
    return Result(data, f"{entry.key}   version {entry.version}   revision {entry.revision}")


def _conflict(session: Session, key: str, wanted: int, conflict: Conflict) -> Result:
    found = conflict.entry
    if found is None:
        is_at = f"does not exist, and version {wanted} was expected"
    else:
        is_at = f"has version {found.version}, not {wanted}" if wanted else f"exists, with version {found.version}"
    session.say(f"`{key}` {is_at}; nothing was changed")
    entry = None if found is None else {"key": key, "value": found.value, "version": found.version}
    return Result({"key": key, "conflict": entry}, "", ExitCode.FAILED)


def _changed(change: Change, style: Style) -> str:
    gone = style.red("deleted")
    value = gone if change.kind == "delete" else _one_line(change.value)
    return f"{style.dim(str(change.revision))}   {change.key}   {value}"
