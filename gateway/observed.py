"""Calls that an application made at a provider by itself, and only tells of: on the books, never enforced.

An observed call is posted as one attempt of basis `observed` with its usage and price. It counts in the
spending of its scopes, so that what is enforced for others there knows of it. Nothing was held for it,
nothing could refuse or cut it, and it is no part of velocity. Its attempt id comes from the provider's id of
the answer: an invoice's row of the same request is the same attempt, and telling twice posts once.
"""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from gateway.calls import Caller, Settlement
from gateway.config import Deployment, GatewayConfig
from gateway.events import Opened
from gateway.policy.budgets import Purchase, lines_for
from gateway.policy.money import NanoUsd, usd
from gateway.policy.pricing import Price, ceiling_price, cost
from gateway.policy.scopes import BudgetLine, Period, counter_name
from gateway.policy.usage import Usage
from gateway.prices import PriceBook
from gateway.scoping import Scoping
from gateway.state.authority import Authority
from gateway.usage import attempt_of_answer

UNPRICED = "observed_unpriced"
WITHOUT_USAGE = "observed_without_usage"
_CEILING = usd(100)


@dataclass(frozen=True, slots=True)
class Observed:
    """One answer. answer_id: the provider's, or any that is this answer's alone. at_ms: Unix milliseconds.

    usage: None where the provider did not say.
    """

    caller: Caller
    provider: str
    model: str
    answer_id: str
    usage: Usage | None
    finish_reason: str = ""
    at_ms: int = field(default_factory=lambda: time.time_ns() // 1_000_000)


class Observer:
    """Posts what it is told. ceiling_nano_usd_per_mtok: what a model without a price costs here (I10)."""

    def __init__(
        self,
        config: GatewayConfig,
        authority: Authority,
        prices: PriceBook,
        *,
        ceiling_nano_usd_per_mtok: NanoUsd = _CEILING,
    ) -> None:
        self._config = config
        self._authority = authority
        self._prices = prices
        self._calendar = Scoping(config).calendar
        self._ceiling = ceiling_nano_usd_per_mtok

    async def post(self, observed: Observed) -> NanoUsd | None:
        """Put a call on the books, once; what it cost. None, and an alert: its usage is not known.

        Raises StateUnavailable: nothing is posted then, and it may be told again.
        """
        if observed.usage is None:
            await self._alert(WITHOUT_USAGE, observed)
            return None
        deployment = self._deployment(observed)
        price = self._price(observed, deployment)
        if price is None:
            price = ceiling_price(observed.provider, observed.model, self._ceiling)
        amount = cost(price, observed.usage)
        attempt_id = attempt_of_answer(observed.answer_id)
        counters = self._counters(observed, deployment)
        body = {
            "attempt_id": attempt_id,
            "kind": "settle",
            "day": self._day(observed),
            "reason": "observed",
            "adopted": _attempt(attempt_id, observed, deployment, price, amount, counters),
        }
        new = await self._authority.post(f"{attempt_id}/settle", counters, amount, body)
        if new and price.id.startswith("ceiling@"):
            await self._alert(UNPRICED, observed)
        return amount

    def _deployment(self, observed: Observed) -> Deployment | None:
        names = {observed.model, f"{observed.provider}/{observed.model}"}
        return next(
            (
                each
                for each in self._config.deployments.values()
                if each.provider == observed.provider and names & {each.model, each.name}
            ),
            None,
        )

    def _price(self, observed: Observed, deployment: Deployment | None) -> Price | None:
        at = datetime.fromtimestamp(observed.at_ms / 1000, UTC)
        if deployment is not None:
            return self._prices.for_deployment(deployment, at)
        return self._prices.price(observed.provider, observed.model, at)

    def _counters(self, observed: Observed, deployment: Deployment | None) -> tuple[str, ...]:
        name = deployment.name if deployment is not None else f"{observed.provider}/{observed.model}"
        lines = lines_for(
            observed.caller,
            Purchase(name, observed.provider),
            run_budget_nano_usd=None,
            calendar=self._calendar,
            now_ms=observed.at_ms,
        )
        return tuple(_counter(line, observed.at_ms) for line in lines)

    def _day(self, observed: Observed) -> str:
        windows = self._calendar.windows(Period.DAY, observed.at_ms)
        return next(w.id for w in windows if w.start_ms <= observed.at_ms < w.end_ms)

    async def _alert(self, rule: str, observed: Observed) -> None:
        evidence = {"agent": observed.caller.agent, "provider": observed.provider, "model": observed.model}
        await self._authority.alert(rule, f"agent:{observed.caller.agent}", evidence)


def _counter(line: BudgetLine, at_ms: int) -> str:
    """A counter in the window that holds this time; a run's has no end."""
    holding = (w for w in line.windows if line.period is Period.RUN or w.start_ms <= at_ms < w.end_ms)
    return counter_name(line.scope, line.period, next(holding).id)


def _attempt(
    attempt_id: str,
    observed: Observed,
    deployment: Deployment | None,
    price: Price,
    amount: NanoUsd,
    counters: tuple[str, ...],
) -> Mapping[str, Any]:
    """An opening and a settlement in one object, as gateway.store.folding reads it."""
    caller, usage = observed.caller, observed.usage or Usage()
    opened = Opened(
        attempt_id=attempt_id,
        call_key="",
        number=0,
        process_id="",
        agent=caller.agent,
        tier="",
        deployment=deployment.name if deployment is not None else "",
        provider=observed.provider,
        model=observed.model,
        asked_nano_usd=0,
        counters=counters,
        run_id=caller.run_id,
        team=caller.team,
        user=caller.user,
        session=caller.session,
        endpoint=caller.endpoint,
        application=caller.application,
        feature=caller.feature,
        tags=caller.tags,
        price_id=price.id,
        queued_ms=observed.at_ms,
    )
    settlement = Settlement(
        attempt_id=attempt_id,
        state="settled",
        cost_nano_usd=amount,
        basis="observed",
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        price_id=price.id,
        provider_request_id=observed.answer_id,
        status="success",
        finish_reason=observed.finish_reason,
        done_ms=observed.at_ms,
    )
    return {**asdict(opened), **settlement.model_dump(mode="json")}
