"""Budgets as they stand now, and as documents for programs."""

import time
from datetime import UTC, datetime
from typing import Any

from gateway.policy.scopes import Period
from gateway.state.authority import Authority, BudgetState
from gateway.store import Rule, Store
from worker.desk.documents import at_text, usd_text

_KINDS = ("global", "team", "user", "key", "agent", "tier", "provider", "model", "run")


async def current_budgets(store: Store, authority: Authority) -> list[BudgetState]:
    """Counters of now, and limits on which nothing was spent yet."""
    now_ms = time.time_ns() // 1_000_000
    states = [s for s in await authority.budgets() if not s.ends_ms or s.ends_ms > now_ms]
    counted = {(state.scope, state.period) for state in states}
    _, limits = await store.budgets.current_limits()
    unspent = [
        BudgetState("", scope, period, "", limit, 0, 0, 0)
        for (scope, period), limit in limits.items()
        if (scope, period) not in counted and period is not Period.RUN
    ]
    return sorted([*states, *unspent], key=lambda s: (_rank(s.scope), s.scope, s.period))


def budget_document(state: BudgetState) -> dict[str, Any]:
    """One counter."""
    return {
        "scope": state.scope,
        "period": state.period.value,
        "window": state.window or None,
        "limit_usd": usd_text(state.limit_nano_usd),
        "spent_usd": usd_text(state.spent_nano_usd),
        "held_usd": usd_text(state.held_nano_usd),
        "in_doubt_usd": usd_text(state.in_doubt_nano_usd),
        "left_usd": usd_text(state.left_nano_usd),
        "topped_up_usd": usd_text(state.topped_nano_usd),
        "resets_at": at_text(datetime.fromtimestamp(state.ends_ms / 1000, UTC)) if state.ends_ms else None,
    }


def rule_document(rule: Rule, spent_nano_usd: int | None) -> dict[str, Any]:
    """One rule. spent_nano_usd: in its running period, None where the scope is a pattern."""
    return {
        "name": rule.name,
        "scope": rule.scope,
        "period": rule.period.value,
        "limit_usd": usd_text(rule.limit_nano_usd),
        "current_spend_usd": usd_text(spent_nano_usd),
        "alert_threshold": rule.alert_threshold,
        "auto_switch_enabled": rule.auto_switch_enabled,
        "fallback_model": rule.fallback_model,
        "origin": rule.origin,
        "version": rule.version,
        "created_at": at_text(rule.created_at),
        "updated_at": at_text(rule.updated_at),
    }


def _rank(scope: str) -> int:
    return _KINDS.index(scope.partition(":")[0])
