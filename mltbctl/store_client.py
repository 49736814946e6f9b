"""The replicated key-values for Python: State, its typed values, and Watch. Values are what JSON can say."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mltbctl.errors import Compacted, MltbError
from mltbctl.steps import Ask, Steps

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

    from mltbctl.lines import Lines
    from mltbctl.locks import HeldLock

    Token: TypeAlias = HeldLock | tuple[str, int] | None

PAGE = 256
"""Entries one answer of a list may hold."""
POLL_S = 5.0
"""How long the daemon holds an answer back while nothing changes."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One key. `version` counts its writes from 1, anew once it was deleted; `revision` is that of its last write."""

    key: str
    value: Any
    version: int
    revision: int
    age_seconds: float | None = field(default=None, compare=False)
    """With `stale=True`: how long ago this node last knew itself up to date."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """A write that was not made: another version was found. `entry` is None where the key does not exist."""

    entry: Entry | None

    def __bool__(self) -> bool:
        """False, so that `if node.state.compare_and_swap(...):` asks whether it was written."""
        return False


class Listing(list[Entry]):
    """What a list found. A watch after `revision` misses nothing that came later. `age_seconds`: of a stale one."""

    revision: int = 0
    age_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One write of a key: `kind` is `set` or `delete` (then `value` is None)."""

    key: str
    value: Any
    version: int
    revision: int
    kind: str


def entry_of(data: dict[str, Any], age: float | None = None) -> Entry:
    """The entry in an answer; its `value` is JSON text."""
    return Entry(data["key"], decoded(data["value"]), data["version"], data["revision"], age)


_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def encoded(value: Any) -> str:
    """`value` as the state keeps it. ValueError or TypeError for what JSON cannot say."""
    try:
        return _encode(value)
    except RecursionError as error:
        raise ValueError("the value is nested too deeply") from error


def decoded(text: str) -> Any:
    """The value that is kept as this text."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise MltbError("a value is nested too deeply to be read from here") from error


def kept(value: Any, text: str) -> Any:
    """What a read will give back for it: tuples become lists, and keys become texts."""
    return value if value is None or isinstance(value, bool | int | float | str) else decoded(text)


def guarded(token: Token) -> dict[str, Any] | None:
    """The lock a write depends on: one that is held, or its name and token."""
    match token:
        case None:
            return None
        case (str() as name, int() as number):
            return {"lock": name, "token": number}
    try:
        return {"lock": token.name, "token": token.token}
    except AttributeError:
        raise TypeError(f"`token` is a lock that is held, or its name and token, not {token!r}") from None


class State:
    """Key-values that every node holds. A write that returned is on disk at a majority.

    Reads are linearizable: they see every write that returned before they began. `stale=True` reads what this
    node has, without asking any other. `token`: a HeldLock (or its name and token); the write is Refused unless
    that lock still has that token.
    """

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    def get(self, key: str, *, stale: bool = False) -> Entry | None:
        """The entry of `key`, None where there is none."""
        return self._lines.play(getting(key, stale))

    def set(self, key: str, value: Any, *, token: Token = None) -> Entry:
        """Write `value`, whatever is there."""
        return self._lines.play(setting(key, value, token))

    def compare_and_swap(self, key: str, expected_version: int, value: Any, *, token: Token = None) -> Entry | Conflict:
        """Write `value` if the key has this version; version 0 means that it must not exist."""
        return self._lines.play(swapping(key, expected_version, value, token))

    def delete(self, key: str, *, expected_version: int | None = None, token: Token = None) -> bool | Conflict:
        """Remove `key`; False where there was none. Conflict where it has another version."""
        return self._lines.play(deleting(key, expected_version, token))

    def list(self, prefix: str = "", *, stale: bool = False, limit: int | None = None) -> Listing:
        """The entries whose keys begin with `prefix`, in the order of their keys.

        A list longer than one answer (256 entries, less where they are large) is put together from several, each
        true at its own revision; `revision` is that of the first. With a `limit` of 0 nothing but that is asked for.
        """
        return self._lines.play(listing(prefix, stale, limit))

    def watch(self, prefix: str = "", *, after: int | None = None, idle: float | None = None) -> Watch:
        """The changes of keys that begin with `prefix`, in order, each once: from now on, or after a revision.

        `idle`: end when nothing changed for so many seconds; None never ends. Watch.revision is where to go on
        with `after`, from any node.
        """
        news = News(prefix, idle)
        # Asked now and not at the first `next`: what is written after this call returned is not missed.
        self._lines.play(news.begin(after))
        return Watch(self._lines, news)


class Watch:
    """An iterator of Change."""

    def __init__(self, lines: Lines, news: News) -> None:
        self._lines = lines
        self._news = news

    @property
    def revision(self) -> int:
        """The last one that was seen, of this prefix or not."""
        return self._news.revision

    def __iter__(self) -> Iterator[Change]:
        return self

    def __next__(self) -> Change:
        """The next change, waited for. Compacted when it is no longer kept; then list and watch anew."""
        change = self._lines.play(self._news.following())
        if change is None:
            raise StopIteration
        return change

    def close(self) -> None:
        """End the iteration; a wait under way goes on for some seconds."""
        self._news.closed = True


# -- step by step ----------------------------------------------------------------------------------------------------


def getting(key: str, stale: bool) -> Steps[Entry | None]:
    """As State.get; so for each below."""
    answer = yield Ask("state_get", {"key": key, **_given(stale=stale or None)})
    if answer["entry"] is None:
        return None
    return entry_of(answer["entry"], answer.get("age_seconds"))


def setting(key: str, value: Any, token: Token) -> Steps[Entry]:
    text = encoded(value)
    answer = yield Ask("state_set", {"key": key, "value": text, **_given(token=guarded(token))}, changes=True)
    return Entry(key, kept(value, text), answer["version"], answer["revision"])


def swapping(key: str, expected_version: int, value: Any, token: Token) -> Steps[Entry | Conflict]:
    if not isinstance(expected_version, int):  # None would mean `any`.
        raise TypeError(f"`expected_version` is a whole number, 0 where there must be no key, not {expected_version!r}")
    text = encoded(value)
    params = {"key": key, "value": text, **_given(if_version=expected_version, token=guarded(token))}
    answer = yield Ask("state_set", params, changes=True)
    if "conflict" in answer:
        return _conflict(answer)
    return Entry(key, kept(value, text), answer["version"], answer["revision"])


def deleting(key: str, expected_version: int | None, token: Token) -> Steps[bool | Conflict]:
    params = {"key": key, **_given(if_version=expected_version, token=guarded(token))}
    answer = yield Ask("state_delete", params, changes=True)
    return _conflict(answer) if "conflict" in answer else bool(answer["deleted"])


def listing(prefix: str, stale: bool, limit: int | None) -> Steps[Listing]:
    if limit is not None and limit < 0:
        raise ValueError(f"limit of {limit} is below 0")
    found = Listing()
    after: str | None = None
    while True:
        page = PAGE if limit is None else min(PAGE, max(1, limit - len(found)))
        answer = yield Ask("state_list", _given(prefix=prefix, stale=stale or None, limit=page, after=after))
        if after is None:
            found.revision, found.age_seconds = answer["revision"], answer.get("age_seconds")
        if limit == 0:
            return found  # Only where the state is was asked for.
        found += [entry_of(entry, answer.get("age_seconds")) for entry in answer["entries"]]
        if not answer["more"] or not answer["entries"] or len(found) == limit:
            return found
        after = found[-1].key


class News:
    """The changes of one prefix, one after the other. `revision` is the last one that was seen."""

    def __init__(self, prefix: str, idle_s: float | None) -> None:
        if idle_s is not None and not idle_s >= 0:
            raise ValueError(f"idle of {idle_s} s is below 0")
        self.revision = 0
        self.closed = False
        self._prefix = prefix
        self._idle_s = idle_s
        self._waiting: list[Change] = []

    def begin(self, after: int | None) -> Steps[None]:
        """From this revision on, or from now. What is now only a read says: a node may be behind, and would tell as
        new what it still learns."""
        if after is not None:
            self.revision = after
            return
        answer = yield Ask("state_list", {"prefix": self._prefix, "limit": 1})
        self.revision = int(answer["revision"])

    def following(self) -> Steps[Change | None]:
        """The next change; None at the end."""
        began, asked = time.monotonic(), False
        while not self._waiting and not self.closed:
            left_s = POLL_S if self._idle_s is None else self._idle_s - (time.monotonic() - began)
            if left_s <= 0 and asked:
                return None
            answer = yield self._ask(self.revision, min(POLL_S, max(0.0, left_s)))
            asked = True
            self._take(answer)
        if self.closed:
            return None
        change = self._waiting.pop(0)
        self.revision = change.revision
        return change

    def _ask(self, after: int, wait_s: float) -> Ask:
        params = {"prefix": self._prefix, "after": after, "wait": wait_s}
        return Ask("state_watch", params, wait_s=wait_s)

    def _take(self, answer: dict[str, Any]) -> None:
        if answer["compacted"]:
            raise Compacted(
                f"the changes after revision {self.revision} are no longer kept",
                "run `mltbctl state list`, then watch again after its revision",
            )
        for change in answer["changes"]:
            text = change["value"]
            value = None if text is None else decoded(text)
            self._waiting.append(Change(change["key"], value, change["version"], change["revision"], change["kind"]))
        if not self._waiting:
            self.revision = max(self.revision, int(answer["revision"]))


def _given(**params: Any) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}


def _conflict(answer: dict[str, Any]) -> Conflict:
    found = answer["conflict"]
    return Conflict(None if found is None else entry_of(found))
