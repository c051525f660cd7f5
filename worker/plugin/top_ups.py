"""Top-ups of a framework's run: its workflow knows no updates, and its next try looks by itself."""

from activities.messages import TopUp, TopUpDone
from activities.runs import run_counter
from gateway.errors import ConfigurationError
from gateway.policy.money import MoneyError, decimal_usd, usd
from gateway.state.authority import Authority
from gateway.store import Run


def is_of_framework(record: Run) -> bool:
    """Whether another framework's workflow makes the calls of this run."""
    return bool(record.spec.get("framework"))


async def top_up_run(authority: Authority, record: Run, top_up: TopUp, top_up_id: str) -> TopUpDone:
    """Raise the run's own budget, once per top_up_id. Raises ConfigurationError, StateUnavailable."""
    scope = f"run:{record.id}"
    if top_up.scope not in ("", scope):
        raise ConfigurationError(
            f"{record.id} can have its own budget raised; that of {top_up.scope} by `curb policy apply`"
        )
    try:
        amount = usd(top_up.usd)
    except MoneyError as error:
        raise ConfigurationError(f"top_up: {error}") from error
    if amount <= 0:
        raise ConfigurationError("top_up: the amount must be more than $0")
    done = await authority.top_up(f"{record.id}/{top_up_id}", run_counter(record.id), amount, by=scope)
    limit = done.limit_nano_usd
    if limit is None and record.budget_nano_usd is not None:  # it comes to the authority with the first call
        counters = await authority.counters([run_counter(record.id)])
        limit = record.budget_nano_usd + sum(each.topped_nano_usd for each in counters)
    return TopUpDone(scope=scope, limit_usd="" if limit is None else decimal_usd(limit))
