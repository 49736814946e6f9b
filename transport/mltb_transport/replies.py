"""The daemon's side of the control plane: who may call what, and answers as Response messages."""

from __future__ import annotations

import json
import math
from typing import Any

from mltb_transport.limits import ERROR_CODES, READ_METHODS, TEXT_CHARS_MAX
from mltb_transport.messages import Request, Response


class ParamsError(Exception):
    """The parameters of a request are not a JSON object."""


def permitted(role: str, method: str) -> bool:
    """Whether a control client of this role may call a method. A node that passes a call on has asked this before."""
    return role == "admin" or (role == "viewer" and method in READ_METHODS)


def params_of(request: Request) -> dict[str, Any]:
    """The parameters of a request. Raises ParamsError."""
    try:
        params = json.loads(request.params)
    except (ValueError, RecursionError) as error:
        raise ParamsError(f"the parameters of `{request.method}` are not JSON") from error
    if not isinstance(params, dict):
        raise ParamsError(f"the parameters of `{request.method}` are not a JSON object")
    return params


def body_of(response: Response) -> dict[str, Any] | None:
    """What another daemon answered; None where it is no JSON object. JSON knows neither NaN nor infinity."""
    try:
        body = json.loads(response.body, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number of JSON")
    return number


def succeeded(request: int, result: dict[str, Any]) -> Response:
    """The answer that carries a result; a failure when the result is too long for one frame."""
    body = _dump(result)
    if len(body) > TEXT_CHARS_MAX:
        return failed(request, "failed", f"the answer is longer than {TEXT_CHARS_MAX} characters")
    return Response(request, True, body)


def failed(request: int, code: str, message: str, hint: str = "", **more: Any) -> Response:
    """The answer that says why not; `more`, e.g. candidates, joins the body.

    A `code` that is none of ERROR_CODES (passed on from a newer node) becomes `failed`.
    """
    code = code if code in ERROR_CODES else "failed"
    body = {"code": code, "message": message, "hint": hint, **more}
    text = _dump(body)
    if len(text) > TEXT_CHARS_MAX:
        text = _dump({"code": code, "message": message[:1000], "hint": hint[:1000]})
    return Response(request, False, text)


def _dump(body: dict[str, Any]) -> str:
    return json.dumps(body, separators=(",", ":"), allow_nan=False)
