"""Scoping: the budget lines of a call, from its caller and the gateway's configuration."""

from dataclasses import replace
from zoneinfo import ZoneInfo

from gateway.calls import Call
from gateway.config import Deployment, GatewayConfig
from gateway.policy.budgets import Purchase, lines_for
from gateway.policy.periods import Calendar
from gateway.policy.rate_limits import InFlightLine, RateLine, in_flight_lines, rate_lines
from gateway.policy.routing import tier_of
from gateway.policy.scopes import BudgetLine, Period, ScopeKind


class Scoping:
    """Builds the lines that attempts of this process are checked against and charged to."""

    def __init__(self, config: GatewayConfig) -> None:
        self._config = config
        self._tiers = {tier.name: tier for tier in config.tiers}
        self._cheapest = config.tiers[0].name if config.tiers else ""
        self.calendar = Calendar(ZoneInfo(config.timezone), config.day_start_seconds)

    def is_dear(self, tier: str) -> bool:
        """Whether pressure on the agent's day moves this tier down: all but the two cheapest do."""
        return tier in list(self._tiers)[2:]

    def lines(self, call: Call, tier: str, deployment: Deployment, now_ms: int) -> tuple[BudgetLine, ...]:
        """Return the lines of one attempt. tier: where the deployment was found, or its own name.

        A deployment asked for by name has no cheaper one to give way to: its soft budgets only alert.
        """
        known = self._tiers.get(tier)
        purchase = Purchase(
            deployment=deployment.name,
            provider=deployment.provider,
            tier=tier if known is not None else "",
            tier_budget_nano_usd=known.daily_budget_nano_usd if known is not None else None,
            cheapest=known is None or tier == self._cheapest,
        )
        lines = lines_for(
            call.caller,
            purchase,
            run_budget_nano_usd=call.run_budget_nano_usd,
            calendar=self.calendar,
            now_ms=now_ms,
        )
        return tuple(_with_own_budget(line, call) for line in lines)

    def rates(
        self, call: Call, tier: str, deployment: Deployment, asked_nano_usd: int
    ) -> tuple[RateLine, ...]:
        """Return the rates of one attempt. A deployment asked for by name counts as its cheapest tier's."""
        model_tier = tier if tier in self._tiers else tier_of(deployment.name, self._config.tiers)
        return rate_lines(
            self._config.rate_limits,
            call.caller,
            deployment=deployment.name,
            model_tier=model_tier,
            asked_nano_usd=asked_nano_usd,
        )

    def in_flight(self, call: Call) -> tuple[InFlightLine, ...]:
        """Return the limits on calls in flight that hold for a call."""
        return in_flight_lines(self._config.rate_limits, call.caller)


def _with_own_budget(line: BudgetLine, call: Call) -> BudgetLine:
    """Budgets that came with the call: of the runs above it, and the agent's own for a day."""
    budget = None
    if line.scope.kind is ScopeKind.RUN:
        budget = call.ancestor_budgets_nano_usd.get(line.scope.id)
    elif line.scope.kind is ScopeKind.AGENT and line.period is Period.DAY:
        budget = call.agent_daily_budget_nano_usd
    return line if budget is None else replace(line, default_limit_nano_usd=budget)
