"""The control plane of one daemon: requests of the command line and the SDK, answered here or by the leader."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from mltb_transport.addresses import spelled
from mltb_transport.bus import REFUSED, Bus, Route
from mltb_transport.messages import Request, Response
from mltb_transport.replies import ParamsError, body_of, params_of, permitted
from mltb_transport.store import Bundle, BundleAnswer
from mltbd.core.effects import Outcomes, Refusals, Reply
from mltbd.core.events import INCARNATION_SPAN, Ask, ReadState
from mltbd.core.log import InvariantViolation
from mltbd.runtime import history_control, views
from mltbd.runtime.asks import ASKS, BadRequest, ask_of, help_of, text
from mltbd.runtime.checks import Checks
from mltbd.runtime.checks import view as checks_view
from mltbd.runtime.clock import boottime
from mltbd.runtime.driver import Driver
from mltbd.runtime.shield import Done, broken, lead_of, shielded
from mltbd.runtime.shield import response as response_of
from mltbd.runtime.simulate_control import Simulations
from mltbd.runtime.store_control import METHODS, StoreControl
from mltbd.runtime.store_params import BadStoreRequest

PENDING_MAX = 256
ROUNDS_MAX = 16
"""Callers that wait for one round of all checks."""
ASIDE_S = 0.3
"""How long `status` waits for what the leader can add."""
LEAD = "lead"
"""What one daemon asks another for its own `status`."""
LEADER_ONLY = ("lock_show", "lock_list")
"""Passed on, because the leader alone knows how much of a lock's time is left."""

Extra = Callable[[dict[str, Any], Done], None]
"""A method that another room answers."""


def failure(code: str, message: str, hint: str = "", **more: Any) -> dict[str, Any]:
    """The body of an answer that is no result."""
    return {"code": code, "message": message, "hint": hint, **more}


def _forbidden(what: str) -> dict[str, Any]:
    return failure("auth", f"a viewer's key may not {what}", "use the cluster's secret")


@dataclass(slots=True)
class Pending:
    """Somebody waits: for the node's Reply or for another daemon's Response."""

    done: Done
    timer: asyncio.TimerHandle


class Control:
    """Answers every request exactly once, or lets it time out at the caller when too many wait."""

    def __init__(self, bus: Bus, forward_s: float, operation_s: float) -> None:
        """`forward_s`: how long another daemon may take to answer what we pass on; `operation_s`: an operator's request
        until it is in the log, or refused."""
        self._bus = bus
        self._forward_s = forward_s
        self._operation_s = operation_s
        self._driver: Driver | None = None
        self._checks: Checks | None = None
        self._rounds: set[asyncio.Task[None]] = set()
        self._pending: dict[int, Pending] = {}
        self._numbers = 0
        self.extras: dict[str, Extra] = {}
        self.store = StoreControl(self._tell_outcomes)
        self.simulations = Simulations()
        self.counters = {"requests": 0, "forwarded": 0, "overloaded": 0, "late": 0}

    def attach(self, driver: Driver, checks: Checks | None = None) -> None:
        self._driver, self._checks = driver, checks
        # An answer that was meant for an earlier incarnation of this node must not find anybody waiting.
        self._numbers = driver.node.first_number
        self.store.attach(driver, self._numbers + INCARNATION_SPAN // 2)

    @property
    def driver(self) -> Driver:
        if self._driver is None:
            raise RuntimeError("control before its driver")
        return self._driver

    # -- in -----------------------------------------------------------------------------------------------------

    def from_client(self, request: Request, role: str, route: Route) -> None:
        """A request of a command line; the answer goes back by its route."""

        def answer(ok: bool, body: dict[str, Any]) -> None:
            self.driver.reply(route, response_of(request.id, ok, body))

        if not permitted(role, request.method):
            answer(False, _forbidden(f"call `{request.method}`"))
            return
        self._serve(request, answer, role)

    def bundle(self, bundle: Bundle, role: str, route: Route) -> None:
        """Commands of a client that packed them itself; the outcomes go back by its route."""
        self.counters["requests"] += 1
        self.store.bundle(bundle, permitted(role, "state_set"), route)

    def _tell_outcomes(self, route: Route, outcomes: tuple[bytes, ...]) -> None:
        self.driver.reply(route, BundleAnswer(outcomes, self._elsewhere()))

    def _elsewhere(self) -> str:
        """Who leads instead of us, and where."""
        node = self.driver.node
        leader = node.consensus.leader
        record = node.membership.record(leader) if leader not in ("", node.me) else None
        return "" if record is None else f"{leader} {spelled(record.address, record.port + 1)}"

    def from_peer(self, request: Request, sender: str) -> None:
        """A request that another daemon passes on."""

        def answer(ok: bool, body: dict[str, Any]) -> None:
            self.driver.send(sender, response_of(request.id, ok, body))

        self._serve(request, answer, "node")

    def response(self, response: Response) -> None:
        """Another daemon's answer to what we passed on."""
        body = body_of(response)
        if body is None:
            self.counters["late"] += 1
            return
        self._resolve(response.id, response.ok, body)

    def reply(self, reply: Reply | Outcomes | Refusals) -> None:
        """The node's answer to an Ask, or its word on commands and reads."""
        if isinstance(reply, Outcomes):
            self.store.outcomes(reply)
            return
        if isinstance(reply, Refusals):
            self.store.refusals(reply)
            return
        if self.store.reply(reply):
            return
        if reply.code:
            self._resolve(reply.request, False, failure(reply.code, reply.message, reply.hint, **reply.result))
        else:
            self._resolve(reply.request, True, reply.result)

    # -- work ---------------------------------------------------------------------------------------------------

    def _serve(self, request: Request, answer: Done, role: str) -> None:
        self.counters["requests"] += 1
        try:
            self._call(request, params_of(request), answer, role)
        except ParamsError as error:
            answer(False, failure("usage", str(error), "mltbctl --help"))
        except (BadRequest, BadStoreRequest) as error:
            hint = getattr(error, "hint", "") or help_of(request.method)
            answer(False, failure("usage", f"`{request.method}`: {error}", hint))
        except InvariantViolation:
            raise
        except Exception:
            answer(False, broken())

    def _call(self, request: Request, params: dict[str, Any], answer: Done, role: str) -> None:
        node, forwarded = self.driver.node, role == "node"
        match request.method:
            case "ping":
                answer(True, {"node": node.me, "version": node.config.version})
            case "status":
                self._status(answer)
            case "lead":
                answer(True, views.leader_facts(node, boottime()))
            case "operation":
                self._operation(request, params, answer, forwarded)
            case "is":
                self._is(text(params, "what"), text(params, "node"), answer)
            case method if method in history_control.METHODS:
                answer(*history_control.METHODS[method](node, params))
            case "simulate":
                self.simulations.ask(node, params.get("fault"), boottime(), answer)
            case "health":
                self._health(params, answer, role)
            case method if method in METHODS:
                self._store(request, params, answer, forwarded)
            case method if method in ASKS:
                self._ask(request, params, answer, forwarded)
            case method if method in self.extras:
                self.extras[method](params, answer)
            case method:
                answer(False, failure("usage", f"unknown method `{method}`", "mltbctl --help"))

    def _status(self, answer: Done) -> None:
        node = self.driver.node
        leader = node.consensus.leader

        def show(ok: bool, body: dict[str, Any]) -> None:
            refusing = [where for where, state in self._bus.connections().items() if state == REFUSED]
            answer(True, views.status(node, boottime(), lead_of(body) if ok else None, refusing))

        if not leader or leader == node.me or not views.has_quorum(node, boottime()):
            show(False, {})
        else:
            self._forward(leader, LEAD, "{}", ASIDE_S, shielded(answer, show))

    def _health(self, params: dict[str, Any], answer: Done, role: str) -> None:
        run, checks = params.get("run", False), self._checks
        if not isinstance(run, bool):
            raise BadRequest("`run` is true or false")
        if run and role == "viewer":  # Results count, and commands are run.
            answer(False, _forbidden("have checks run"))
        elif checks is None or not run:
            answer(True, checks_view(self.driver.node) if checks is None else checks.view())
        elif len(self._rounds) >= ROUNDS_MAX:
            answer(False, failure("unavailable", "too many wait for the checks already", "try again"))
        else:
            round_ = asyncio.ensure_future(checks.run_all())
            self._rounds.add(round_)
            round_.add_done_callback(self._rounds.discard)
            round_.add_done_callback(lambda _: answer(True, checks.view()))

    def _operation(self, request: Request, params: dict[str, Any], answer: Done, forwarded: bool) -> None:
        number = params.get("id")
        if not isinstance(number, int) or isinstance(number, bool):
            raise BadRequest("`id` is a number")
        node = self.driver.node
        operation = node.state.placements.operations.get(number)
        if operation is not None:
            answer(True, views.operation_view(operation))
        elif not forwarded and node.consensus.leader not in ("", node.me):
            self._forward(node.consensus.leader, request.method, request.params, self._forward_s, answer)
        elif not views.has_quorum(node, boottime()):
            answer(
                False,
                failure("unavailable", f"operation {number} is not known here, and nobody leads now", "mltbctl status"),
            )
        else:
            answer(False, failure("failed", f"no operation {number}", "mltbctl status"))

    def _store(self, request: Request, params: dict[str, Any], answer: Done, forwarded: bool) -> None:
        leader = self.driver.node.consensus.leader
        here = forwarded or leader in ("", self.driver.node.me) or params.get("stale")
        if request.method in LEADER_ONLY and not here:
            self._forward(leader, request.method, request.params, self._forward_s, answer)
            return
        self.store.call(request.method, params, answer)

    def _ask(self, request: Request, params: dict[str, Any], answer: Done, forwarded: bool) -> None:
        node = self.driver.node
        ask = ask_of(0, request.method, params)
        leader = node.consensus.leader
        if leader and leader != node.me and not forwarded:
            limit_s = min(self._forward_s, self._operation_s)
            self._forward(leader, request.method, request.params, limit_s, answer)
            return
        number = self._wait(self._operation_s, answer)
        if number is not None:
            self._give(replace(ask, request=number))

    def _is(self, what: str, named: str, answer: Done) -> None:
        node, now = self.driver.node, boottime()
        target, reign = named or node.me, node.consensus.reign
        if what == "leader" and target == node.me and reign is not None:
            # We believe so; a quorum has to agree at this moment.
            def confirmed(ok: bool, body: dict[str, Any]) -> None:
                leads = ok and node.consensus.reign is reign
                why = f"{target} leads, confirmed by a quorum" if leads else body.get("message", "the leader changed")
                answer(True, {"answer": True if leads else None, "reason": why})

            number = self._wait(ASIDE_S * 5, confirmed)
            if number is not None:
                self._give(ReadState(number))
            return
        if what == "primary" and target == node.me:
            runs = [name for name in node.owner.workloads if node.owner.holds_now(name, now)]
            answer(True, {"answer": bool(runs), "reason": f"{target} runs {', '.join(runs) or 'nothing'}"})
            return
        answer(True, _judge(what, named, views.status(node, now)))

    def ask(self, node: str, method: str, timeout_s: float, done: Done, params: dict[str, Any] | None = None) -> None:
        """Ask another daemon. `done` hears its answer, or that none came."""
        self._forward(node, method, json.dumps(params or {}), timeout_s, done)

    def _give(self, ask: Ask | ReadState) -> None:
        """The node's, and apart from the request: where the node fails, this daemon has to end."""
        asyncio.get_running_loop().call_soon(self.driver.handle, ask)

    # -- waiting ------------------------------------------------------------------------------------------------

    def _wait(self, timeout_s: float, done: Done) -> int | None:
        """A number for somebody who waits; None (and an answer) when too many do."""
        if len(self._pending) >= PENDING_MAX:
            self.counters["overloaded"] += 1
            done(False, failure("unavailable", "too many requests wait for an answer", "try again"))
            return None
        self._numbers += 1
        number = self._numbers
        timer = asyncio.get_running_loop().call_later(timeout_s, self._expire, number)
        self._pending[number] = Pending(done, timer)
        return number

    def _forward(self, to: str, method: str, params: str, timeout_s: float, done: Done) -> None:
        number = self._wait(timeout_s, done)
        if number is None:
            return
        self.counters["forwarded"] += 1
        if not self.driver.send(to, Request(number, method, params)):
            self._resolve(number, False, failure("unavailable", f"leader {to} cannot be reached", "try again"))

    def _resolve(self, number: int, ok: bool, body: dict[str, Any]) -> None:
        pending = self._pending.pop(number, None)
        if pending is None:
            self.counters["late"] += 1
            return
        pending.timer.cancel()
        pending.done(ok, body)

    def _expire(self, number: int) -> None:
        why = "no answer from the leader in time: the request may or may not have taken effect"
        self._resolve(number, False, failure("unknown_outcome", why, "mltbctl status"))


def _judge_paused(paused: dict[str, Any] | None, me: str, quorate: bool) -> dict[str, Any]:
    if not quorate:
        return {"answer": None, "reason": f"{me} sees no quorum"}
    if paused is None:
        return {"answer": False, "reason": "automatic moves are on"}
    why = f": {paused['reason']}" if paused["reason"] else ""
    return {"answer": True, "reason": f"paused by {paused['by']}{why}"}


def _judge(what: str, named: str, picture: dict[str, Any]) -> dict[str, Any]:
    """The answer to `is`, from the picture this node has; None where it cannot tell.

    `named` is a node, or empty: then it is asked of the node that answers, and `healthy` of the whole cluster.
    """
    cluster, me = picture["cluster"], picture["view"]["node"]
    target = named or me
    quorate = cluster["quorum"]["has_quorum"]
    if what == "quorate":
        return {"answer": quorate, "reason": f"{me} {'sees' if quorate else 'does not see'} a quorum"}
    if what == "paused":
        return _judge_paused(cluster["paused"], me, quorate)
    if what == "healthy" and not named:
        return {"answer": cluster["is_healthy"], "reason": f"the cluster is {cluster['state'].lower()}"}
    known = next((member for member in picture["nodes"] if member["id"] == target), None)
    if known is None:
        raise BadRequest(f"no node `{target}` here", "mltbctl nodes")
    if not quorate and target != me:
        return {"answer": None, "reason": f"{me} sees no quorum"}
    if what == "leader":
        return {"answer": known["state"] == "LEADER", "reason": f"{cluster['leader'] or 'nobody'} leads"}
    if what == "primary":
        runs = [w["name"] for w in picture["workloads"] if w["owner"] == target and w["state"] == "RUNNING"]
        return {"answer": bool(runs), "reason": f"{target} runs {', '.join(runs) or 'nothing'}"}
    if what == "healthy":
        return {"answer": known["health"] == "HEALTHY", "reason": f"{target} is {known['health'].lower()}"}
    raise BadRequest(f"`{what}` is none of leader, primary, healthy, paused, quorate")
