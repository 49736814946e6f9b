"""Answers are built from what other daemons say, too: one that fails is told and logged, and ends nobody."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, ParamSpec

from mltb_transport.messages import Response
from mltb_transport.replies import failed, succeeded
from mltbd.core.log import InvariantViolation

P = ParamSpec("P")
Done = Callable[[bool, dict[str, Any]], None]
log = logging.getLogger("mltbd")


def shielded(answer: Done, work: Callable[P, object]) -> Callable[P, None]:
    """`work`, that reads and answers; where it raises, `answer` is told that it failed.

    Never for what changes the node: one that failed half-way must end.
    """

    def safely(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            work(*args, **kwargs)
        except InvariantViolation:
            raise
        except Exception:
            answer(False, broken())

    return safely


def broken() -> dict[str, Any]:
    """The answer while an exception is handled; the log gets the exception."""
    log.exception("an answer cannot be made: what it is made of is broken")
    return {"code": "failed", "message": "the daemon cannot make this answer", "hint": "see its log"}


def response(request: int, ok: bool, body: dict[str, Any]) -> Response:
    """Any body, also one from another daemon."""
    try:
        return succeeded(request, body) if ok else _refusal(request, body)
    except Exception:
        return failed(request, **broken())


def lead_of(body: dict[str, Any]) -> dict[str, Any] | None:
    """The `views.leader_facts` of another node; None where they are none."""
    by_name = [body.get(name, {}) for name in ("leases", "failbacks", "lags")]
    numbers = all(isinstance(each, dict) and all(map(_number_or_none, each.values())) for each in by_name)
    words = all(isinstance(body.get(name, ""), str) for name in ("level_waits", "mode"))
    return body if numbers and words else None


def _number_or_none(value: object) -> bool:
    return value is None or type(value) in (int, float)


def _refusal(request: int, body: dict[str, Any]) -> Response:
    more = {key: value for key, value in body.items() if key not in ("request", "code", "message", "hint")}
    code, message = str(body.get("code", "failed")), str(body.get("message", "the daemon gave no reason"))
    return failed(request, code, message, str(body.get("hint", "")), **more)
