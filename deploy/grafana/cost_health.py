"""AI factory - cost & health: what is spent, whether it works, what holds it back; the most urgent on top."""

from collections.abc import Sequence

from grafana_foundation_sdk.builders import stat

from deploy.grafana.frame import Dashboard, frame, section
from deploy.grafana.panels import (
    AGENT_LINK,
    HALF,
    QUARTER,
    SECONDS,
    SHARE,
    USD,
    WIDE,
    Panel,
    bars,
    lines,
    number,
    rows,
)
from deploy.grafana.queries import CHOSEN, Sql, matches, now, over_time, quantile, rows_of
from deploy.grafana.traffic import house, runs, traffic

_HERE = " AND ".join([matches("agent", "agent"), matches("deployment", "model"), matches("team", "team")])
_LEDGER = "What is chosen is from the ledger, to the minute; its days are those of the database's session."
_REQUESTS = f"llm_requests_total{{{CHOSEN}}}"


def dashboard() -> Dashboard:
    """The panels in the order of REQUIREMENTS 8."""
    made = frame("curb-cost-health", "AI factory - cost & health", "What is spent and whether it works.")
    section(made, "Money", _money())
    section(made, "Health", _health())
    section(made, "Where it goes", _shares())
    section(made, "Providers and switches", _outside())
    section(made, "Traffic", traffic())
    section(made, "Runs", runs())
    section(made, "House", house())
    return made


def _money() -> Sequence[Panel]:
    everybody = 'max by (period) (curb_budget_utilization_ratio{scope="global"})'
    return [
        _spent("Today", "day", "day = current_date").span(QUARTER),
        _spent("Month to date", "month", "day >= date_trunc('month', current_date)").span(QUARTER),
        number(
            "Budget used",
            now(everybody, "{{period}}, everybody"),
            now('max(llm_budget_utilization_ratio{agent=~"$agent"})', "day, fullest agent"),
            unit=SHARE,
            bad=(0.8, 1),
            text="What is held and in doubt counts as used. Teams: llm_monthly_budget_utilization.",
        ).span(HALF),
        lines(
            "Cost velocity, $/h",
            over_time(
                f"3600 * sum(rate(llm_cost_dollars_total{{{CHOSEN}}}[$__rate_interval]))", "all of them"
            ),
            over_time(
                'topk(10, 60 * max by (agent) (llm_cost_velocity_dollars_per_minute{agent=~"$agent"}))',
                "{{agent}}",
            ),
            unit=USD,
            text="Agents: over curb's own velocity window, which its thresholds look at.",
        )
        .time_from("now-24h")
        .span(WIDE),
    ]


def _spent(title: str, period: str, days: str) -> stat.Panel:
    """What everybody spent, by the counters; and what is chosen above, by the ledger."""
    counted = f'max(curb_spent_dollars{{scope="global", period="{period}"}})'
    chosen = (
        f'SELECT coalesce(sum(total_cost_usd), 0)::float8 AS "chosen" FROM llm_usage WHERE {days} AND {_HERE}'
    )
    return number(title, now(counted, "everybody"), Sql(chosen), unit=USD, text=_LEDGER)


def _health() -> Sequence[Panel]:
    hits = f"sum(increase(llm_cache_hits_total{{{CHOSEN}}}[1h])) or vector(0)"
    errors = f'sum(increase(llm_requests_total{{status="error", {CHOSEN}}}[1h])) or vector(0)'
    asked = f"sum(increase({_REQUESTS}[1h]))"
    return [
        number(
            "Active agents",
            now(f"count(sum by (agent) (increase({_REQUESTS}[1h])) > 0) or vector(0)", "in the last hour"),
            now(
                'count(max by (agent) (llm_cost_velocity_dollars_per_minute{agent=~"$agent"}))',
                "known",
            ),
            text="Known are those that are configured, and those that spent today; 200 at most.",
        ).span(HALF),
        number("Error rate, 1 h", now(f"({errors}) / {asked}"), unit=SHARE, bad=(0.05, 0.1)),
        number(
            "Cache hit rate, 1 h",
            now(f"({hits}) / (({hits}) + ({asked} or vector(0)))"),
            unit=SHARE,
            text="Of the calls that were answered by the cache or asked of a provider.",
        ),
        number(
            "p95 latency, 1 h",
            now(quantile(0.95, "llm_request_duration_seconds", CHOSEN, window="1h")),
            unit=SECONDS,
            bad=(5, 10),
        ),
    ]


def _shares() -> Sequence[Panel]:
    today = "sum(total_cost_usd)::float8 AS usd FROM llm_usage WHERE day = current_date"
    end = f"AND {_HERE} GROUP BY 1 ORDER BY usd DESC LIMIT 20"
    return [
        bars(
            "Cost by agent today",
            Sql(f"SELECT agent, {today} {end}"),
            unit=USD,
            link=AGENT_LINK,
            text=_LEDGER,
        ),
        bars(
            "Cost by model today", Sql(f"SELECT deployment AS model, {today} {end}"), unit=USD, text=_LEDGER
        ),
    ]


def _outside() -> Sequence[Panel]:
    health = """
        SELECT provider, deployment, status, reason, latency_ms, checked_at, since FROM provider_health
        ORDER BY array_position(ARRAY['down', 'degraded', 'unknown', 'up'], status), provider, deployment
    """
    return [
        rows(
            "Provider health",
            Sql(health),
            units={"latency_ms": "ms"},
            text="By probes and by calls; the latency is the last probe's.",
        ).span(HALF),
        lines(
            "Probes of providers",
            over_time("max by (provider) (curb_provider_latency_seconds)", "{{provider}}"),
            unit=SECONDS,
            text="How long the last probe took.",
        ).span(QUARTER),
        lines(
            "p95 latency by model",
            over_time(quantile(0.95, "llm_request_duration_seconds", CHOSEN, by="model"), "{{model}}"),
            unit=SECONDS,
        ).span(QUARTER),
        rows(
            "Kill switches and throttles",
            rows_of("max by (scope, target) (llm_kill_switch_active)"),
            text="What is set at this moment, whoever set it.",
        ),
    ]
