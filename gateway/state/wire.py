"""Between our values and what the scripts take and give."""

import json
import math
from dataclasses import fields
from typing import Any

from gateway.calls import BudgetLeft
from gateway.config import GatewayConfig
from gateway.events import Opened
from gateway.policy.rate_limits import InFlightLine, RateLine
from gateway.policy.refusals import Refusal, RefusalKind
from gateway.policy.scopes import BudgetLine, Period, Window
from gateway.state.values import Ask, BudgetState, SwitchChange

_OPENED = tuple(field.name for field in fields(Opened))


def opened_body(opened: Opened) -> dict[str, Any]:
    """The body of a `reserved` event; dataclasses.asdict would copy deeply, at ten times the price."""
    return {name: getattr(opened, name) for name in _OPENED}


def admit_json(ask: Ask, config: GatewayConfig, process_id: str, nonce: str) -> dict[str, Any]:
    """ARGV[2] of admit.lua without `seen`."""
    opened = ask.opened
    windows, lines = _lines(ask.lines)
    return {
        "call": opened.call_key,
        "nonce": nonce,
        "at_least": opened.number,
        "process_id": process_id,
        "agent": opened.agent,
        "deployment": opened.deployment,
        "provider": opened.provider,
        "asked": opened.asked_nano_usd,
        "lease_ms": milliseconds(config.lease_seconds if ask.hold_seconds is None else ask.hold_seconds),
        "grace_ms": milliseconds(config.lease_grace_seconds),
        "outbox_max": config.outbox_max,
        "switches": kill_switches(opened),
        "throttle": f"throttle:agent:{opened.agent}",
        "pressure_ppm": round((ask.downgrade_at_ratio or 0) * 1_000_000),
        "daily_switch": int(ask.daily_switch),
        "windows": windows,
        "lines": lines,
        **({"aside": 1} if ask.hold_seconds is not None else {}),
        **({"circuit": 1} if config.breaker.failures and ask.circuit else {}),
        **(_rates(ask.rates) if ask.rates else {}),
        **(_lanes(ask.in_flight) if ask.in_flight else {}),
    }


def _rates(lines: tuple[RateLine, ...]) -> dict[str, Any]:
    """A list in Redis for each rule, window and whose requests are counted."""
    rates = [
        (
            f"{line.rule}:{line.rate.window_ms}:{line.scope}",
            line.rate.limit,
            line.rate.window_ms,
            line.scope,
            line.rule,
            line.tier,
            int(line.each_attempt),
        )
        for line in lines
    ]
    return {"rates": rates}


def _lanes(lines: tuple[InFlightLine, ...]) -> dict[str, Any]:
    lanes = [(*line.scope.split(":", 1), line.limit) for line in lines]
    busy = [name for kind, name, _ in lanes if kind == "key"]
    return {"lanes": lanes, **({"busy": busy[0]} if busy else {})}


def milliseconds(seconds: float) -> int:
    return math.floor(seconds * 1000)


def kill_switches(opened: Opened) -> list[tuple[str, str]]:
    """The switches that stop this attempt, with the scope each stands for.

    kill:model is looked up by the model's name on the wire and by the deployment's name, because
    a person may type either.
    """
    scopes = ["global", f"agent:{opened.agent}", f"provider:{opened.provider}", f"model:{opened.model}"]
    if opened.deployment not in ("", opened.model):
        scopes.append(f"model:{opened.deployment}")
    if opened.key_id:
        scopes.append(f"key:{opened.key_id}")
    return [(f"kill:{scope}", scope) for scope in scopes]


def _lines(lines: tuple[BudgetLine, ...]) -> tuple[list[tuple[str, int, int]], list[tuple[object, ...]]]:
    """Windows once each, and the lines referring to them by number from 1."""
    numbers: dict[Window, int] = {}
    encoded: list[tuple[object, ...]] = []
    for line in lines:
        refs = [numbers.setdefault(window, len(numbers) + 1) for window in line.windows]
        limit = -1 if line.default_limit_nano_usd is None else line.default_limit_nano_usd
        encoded.append((str(line.scope), line.period.value, refs, limit, _mode(line)))
    return [(window.id, window.start_ms, window.end_ms) for window in numbers], encoded


def _mode(line: BudgetLine) -> int:
    return 2 if line.alert_only else int(line.soft)


def refusal_from(reply: list[str], asked_nano_usd: int) -> Refusal:
    """{'refused', epoch, seq, kind, scope, period, limit, spent, held, in doubt, retry_at_ms, detail}, and
    for rate_limited after that: rule, tier, limit, window_ms."""
    rate = reply[12:] or ["", "", "0", "0"]
    return Refusal(
        kind=RefusalKind(reply[3]),
        scope=reply[4],
        period=reply[5],
        limit_nano_usd=int(reply[6]),
        spent_nano_usd=int(reply[7]),
        held_nano_usd=int(reply[8]),
        in_doubt_nano_usd=int(reply[9]),
        asked_nano_usd=asked_nano_usd,
        retry_at_ms=int(reply[10]) if reply[10] else None,
        detail=reply[11],
        rate_rule=rate[0],
        rate_tier=rate[1],
        rate_limit=int(rate[2]),
        rate_window_ms=int(rate[3]),
    )


def budget_left(reply: str) -> BudgetLeft | None:
    """scope|period|amount, or ''"""
    if not reply:
        return None
    scope, period, amount = reply.rsplit("|", 2)
    return BudgetLeft(scope, period, int(amount))


def budget_states(reply: list[str]) -> list[BudgetState]:
    """{counter, limit or '', spent, held, in doubt, topped, ends, ...}"""
    return [_budget_state(reply[at : at + 7]) for at in range(0, len(reply), 7)]


def _budget_state(part: list[str]) -> BudgetState:
    scope, period, window = part[0].rsplit("|", 2)
    limit = int(part[1]) if part[1] else None
    return BudgetState(part[0], scope, Period(period), window, limit, *map(int, part[2:]))


def switch_changes(reply: list[str]) -> list[SwitchChange]:
    """{'ok', epoch, seq, name, old, new, expires_at_ms, ...}"""
    return [
        SwitchChange(reply[at], reply[at + 1], reply[at + 2], int(reply[at + 3]))
        for at in range(3, len(reply), 4)
    ]


def refused_body(opened: Opened, refusal: Refusal) -> str:
    """The body of a `refused` event."""
    numbers = {field.name: getattr(refusal, field.name) for field in fields(Refusal)}
    return json.dumps({**opened_body(opened), "refusal": {**numbers, "kind": refusal.kind.value}})
