"""The budgets of curb.yaml: where they may stand, and the one table that they come to."""

from collections.abc import Iterator
from dataclasses import dataclass

from gateway.config import GatewayConfig
from gateway.defaults import default_limits
from gateway.policy.money import NanoUsd, usd
from gateway.policy.scopes import Period, Scope, ScopeKind
from worker.config_errors import Path, Problem, dotted, suggestion
from worker.config_schema import BudgetSection, File

DEFAULT_AGENT_DAY = usd(10)  # REQUIREMENTS 1 leaves it between $1 and $100, by agent


@dataclass(frozen=True, slots=True)
class _Stated:
    """One budget that the file states, and where. amount: None lifts a default."""

    path: Path
    scope: str
    period: Period
    amount: NanoUsd | None


def limits(file: File, gateway: GatewayConfig) -> dict[tuple[str, Period], NanoUsd]:
    """Defaults, then each tier's day, then what the file states, by scope and period."""
    wanted: dict[tuple[str, Period], NanoUsd | None] = {**default_limits()}
    wanted.setdefault(("agent:*", Period.DAY), DEFAULT_AGENT_DAY)
    for tier in gateway.tiers:
        wanted[f"tier:{tier.name}", Period.DAY] = tier.daily_budget_nano_usd
    for each in _stated(file):
        wanted[each.scope, each.period] = each.amount
    return {key: amount for key, amount in wanted.items() if amount is not None}


def limit_checks(file: File, gateway: GatewayConfig) -> Iterator[Problem]:
    """Scopes that are none, periods that a scope has not, and budgets stated in two places."""
    for name, budget in file.budgets.items():
        yield from _scope_checks(("budgets", name), name, gateway)
        if _is_run(name) != (set(budget.written()) == {"run"}):
            yield Problem(("budgets", name), "run:* takes `run`, every other scope takes `day` and `month`")
    for user, budget in file.user_limits.items():
        if "run" in budget.model_fields_set:
            yield Problem(("user_limits", user, "run"), "users take `day` and `month`")
    for number, rule in enumerate(file.alert_rules):
        yield from _scope_checks(("alert_rules", number, "scope"), rule.scope, gateway)
        if (rule.threshold is None) == (rule.amount is None):
            yield Problem(
                ("alert_rules", number), "write `threshold` (a share) or `amount` (dollars), one of them"
            )
    yield from _twice(file)


def _stated(file: File) -> Iterator[_Stated]:
    if "monthly_budget" in file.model_fields_set:
        yield _Stated(("monthly_budget",), "global", Period.MONTH, file.monthly_budget)
    for user, budget in file.user_limits.items():
        yield from _periods(("user_limits", user), f"user:{'*' if user == 'default' else user}", budget)
    for name, budget in file.budgets.items():
        yield from _periods(("budgets", name), name, budget)
    for name, tier in file.tiers.items():
        if "daily_budget" in tier.model_fields_set:
            yield _Stated(("tiers", name, "daily_budget"), f"tier:{name}", Period.DAY, tier.daily_budget)
    for name, agent in file.agents.items():
        amounts = {"daily_budget": agent.daily_budget, "monthly_budget": agent.monthly_budget}
        for field in sorted(amounts.keys() & agent.model_fields_set):
            period = Period.DAY if field == "daily_budget" else Period.MONTH
            yield _Stated(("agents", name, field), f"agent:{name}", period, amounts[field])


def _periods(path: Path, scope: str, budget: BudgetSection) -> Iterator[_Stated]:
    amounts = {Period.RUN: budget.run, Period.DAY: budget.day, Period.MONTH: budget.month}
    for period, amount in amounts.items():
        if period.value in budget.model_fields_set:
            yield _Stated((*path, period.value), scope, period, amount)


def _scope_checks(path: Path, text: str, gateway: GatewayConfig) -> Iterator[Problem]:
    known = {
        ScopeKind.TIER: [tier.name for tier in gateway.tiers],
        ScopeKind.MODEL: list(gateway.deployments),
        ScopeKind.PROVIDER: list(gateway.providers),
    }
    try:
        scope = Scope.parse(text)
    except ValueError as error:
        yield Problem(path, str(error))
        return
    names = known.get(scope.kind)
    if names is not None and scope.id not in (*names, "*"):
        yield Problem(path, f"there is no {scope.kind.value} {scope.id}{suggestion(scope.id, names)}")


def _is_run(scope: str) -> bool:
    return scope.partition(":")[0] == ScopeKind.RUN.value


def _twice(file: File) -> Iterator[Problem]:
    """One budget in two places: nobody could tell which of them holds."""
    seen: dict[tuple[str, Period], _Stated] = {}
    for each in _stated(file):
        first = seen.setdefault((each.scope, each.period), each)
        if first is not each:
            budget = f"the budget of {each.scope} per {each.period.value}"
            yield Problem(each.path, f"{budget} stands at {dotted(first.path)} already; keep one of them")
