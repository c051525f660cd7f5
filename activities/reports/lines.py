"""The lines of a report from sums: pure. Parts always add up to their total."""

from collections.abc import Iterable, Mapping, Sequence

from activities.reports.document import BudgetLine, Line, Usage, Work
from gateway.policy.money import NanoUsd
from gateway.store.figures import BudgetSum, RunSum, UsageSum, UserSum

_USAGE = tuple(Usage.model_fields)


def usage_of(sums: Sequence[UsageSum]) -> Usage:
    """All of them together."""
    return Usage(**{name: sum(getattr(each, name) for each in sums) for name in _USAGE})


def usage_lines(sums: Sequence[UsageSum], before: Sequence[UsageSum], top: int) -> tuple[Line, ...]:
    """A line for each of the dearest names, and one for all others together.

    Who spent before and nothing now is there too, so that both columns add up.
    """
    spent = {each.name: each.cost_nano_usd for each in before}
    gone = [UsageSum(name) for name in spent.keys() - {each.name for each in sums}]
    ranked = sorted([*sums, *gone], key=lambda each: (-each.cost_nano_usd, -each.attempts, each.name))
    if len(ranked) == top + 1:  # a single name needs no more room than "1 other"
        top += 1
    lines = [_line(each.name, [each], spent.get(each.name, 0)) for each in ranked[:top]]
    if others := ranked[top:]:
        lines.append(_line("", others, sum(spent.get(each.name, 0) for each in others), others=len(others)))
    return tuple(lines)


def _line(name: str, sums: Sequence[UsageSum], before_nano_usd: int, *, others: int = 0) -> Line:
    usage = usage_of(sums)
    return Line(
        name=name,
        others=others,
        cost_nano_usd=usage.cost_nano_usd,
        before_nano_usd=before_nano_usd,
        attempts=usage.attempts,
        errors=usage.errors,
        prompt_tokens=usage.prompt_tokens,
        output_tokens=usage.output_tokens,
    )


def user_lines(sums: Iterable[UserSum], before: Mapping[str, int]) -> tuple[Line, ...]:
    """The same for users, whose others were added up by the database; what they had spent is not known."""
    return tuple(
        Line(
            name=each.name or "",
            others=0 if each.name is not None else each.names,
            cost_nano_usd=each.cost_nano_usd,
            before_nano_usd=None if each.name is None else before.get(each.name, 0),
            attempts=each.attempts,
        )
        for each in sums
    )


def budget_lines(sums: Iterable[BudgetSum], window: str) -> tuple[BudgetLine, ...]:
    """A line for each scope with a limit that anything was asked of, the fullest first; that of
    everything comes first of all, and always.

    Several sums of one scope (a closed day and the running one) become one; it has no limit when one
    of them has none.
    """
    by_scope: dict[str, list[BudgetSum]] = {}
    for each in sums:
        by_scope.setdefault(each.scope, []).append(each)
    made = (_budget(scope, parts, window) for scope, parts in by_scope.items())
    limited = [
        each
        for each in made
        if each.limit_nano_usd is not None
        and (each.spent_nano_usd or each.refusals or each.scope == "global")
    ]
    return tuple(sorted(limited, key=lambda each: (each.scope != "global", -_used(each), each.scope)))


def _budget(scope: str, parts: Sequence[BudgetSum], window: str) -> BudgetLine:
    limits = [each.limit_nano_usd for each in parts if each.limit_nano_usd is not None]
    return BudgetLine(
        scope=scope,
        per="day",
        window=window,
        limit_nano_usd=sum(limits) if len(limits) == len(parts) else None,
        spent_nano_usd=sum(each.spent_nano_usd for each in parts),
        overrun_nano_usd=sum(each.overrun_nano_usd for each in parts),
        refusals=sum(each.refusals for each in parts),
    )


def _used(line: BudgetLine) -> float:
    """The share of its limit that is spent, for the order of lines only."""
    return (
        line.spent_nano_usd / line.limit_nano_usd if line.limit_nano_usd else float(line.spent_nano_usd > 0)
    )


def work_lines(runs: Iterable[RunSum], agents: Iterable[UsageSum]) -> tuple[Work, ...]:
    """What each agent did and what that was worth; agents without runs are left out."""
    costs = {each.name: each.cost_nano_usd for each in agents}
    by_agent: dict[str, list[RunSum]] = {}
    for each in runs:
        by_agent.setdefault(each.agent, []).append(each)
    lines = [_work(agent, ended, costs.get(agent, 0)) for agent, ended in by_agent.items()]
    return tuple(sorted(lines, key=lambda each: (-each.cost_nano_usd, each.agent)))


def work_total(lines: Sequence[Work]) -> Work:
    """All agents that have runs, together."""
    known = [each.value_nano_usd for each in lines if each.value_nano_usd is not None]
    counts = {
        name: sum(getattr(each, name) for each in lines)
        for name in ("completed", "failed", "killed", "stopped", "expired", "cost_nano_usd")
    }
    return _reckoned("", counts, sum(known) if known else None)


def _work(agent: str, ended: Sequence[RunSum], cost_nano_usd: int) -> Work:
    counts = {"cost_nano_usd": cost_nano_usd}
    for each in ended:
        counts[each.status] = counts.get(each.status, 0) + each.runs
    known = any(each.valued for each in ended)
    return _reckoned(agent, counts, sum(each.value_nano_usd for each in ended) if known else None)


def _reckoned(agent: str, counts: Mapping[str, int], value: int | None) -> Work:
    cost, completed = counts.get("cost_nano_usd", 0), counts.get("completed", 0)
    return Work(
        agent=agent,
        **counts,
        value_nano_usd=value,
        profit_nano_usd=None if value is None else value - cost,
        cost_per_completed_nano_usd=_shared(cost, completed) if completed else None,
    )


def _shared(amount: int, among: int) -> NanoUsd:
    """An amount divided, half up."""
    return NanoUsd((2 * amount + among) // (2 * among))
