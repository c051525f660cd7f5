"""The lower half of cost & health: requests, who asks, what stands in their way, and the house itself."""

from collections.abc import Sequence

from deploy.grafana.panels import (
    BYTES,
    HALF,
    RUN_LINK,
    SECONDS,
    SHARE,
    TEMPORAL_LINK,
    USD,
    Panel,
    bars,
    dial,
    lines,
    rows,
)
from deploy.grafana.queries import CHOSEN, Query, Sql, matches, now, over_time

_REQUESTS = f"llm_requests_total{{{CHOSEN}}}"
_RUNS = f"{matches('agent', 'agent')} AND {matches('team', 'team')}"


def traffic() -> Sequence[Panel]:
    """Requests, users, tokens, refusals."""
    good = f'sum(rate(llm_requests_total{{status="success", {CHOSEN}}}[5m])) or vector(0)'
    hour = f"sum(increase(llm_cost_dollars_total{{{CHOSEN}}}[1h]))"
    return [
        lines("Requests per minute", _per_minute("status", _REQUESTS)).span(HALF),
        lines(
            "Success rate", over_time(f"({good}) / sum(rate({_REQUESTS}[5m]))", "success"), unit=SHARE
        ).span(HALF),
        bars("Top users by cost, today", _users(), unit=USD, text="Over all agents, models and teams."),
        bars("Cost by team today", _teams(), unit=USD),
        dial("Hourly cost", now(hour, "the last hour"), unit=USD),
        lines("Token usage per minute", _per_minute("direction", f"llm_tokens_total{{{CHOSEN}}}")),
        lines("Errors per minute", _per_minute("error_type", 'llm_request_errors_total{model=~"$model"}')),
        lines(
            "Answers of the front door, per minute",
            _per_minute("code", "curb_http_requests_total"),
            text="By HTTP status; 499: the client left.",
        ).span(HALF),
        rows(
            "Rate-limit violations, 24 h",
            _violations(),
            text="Who ran into which limit, and how often he was told to come later.",
        ).span(HALF),
        lines(
            "Refusals per minute",
            _per_minute("kind", 'curb_refusals_total{agent=~"$agent"}'),
            text="Calls that were refused before anything was sent; exhausted: by a budget.",
        ).span(HALF),
        lines(
            "Loops",
            _per_minute("rule", 'curb_loop_rules_total{agent=~"$agent"}'),
            text="Runs that a loop rule stopped or flagged, per minute.",
        ).span(HALF),
    ]


def runs() -> Sequence[Panel]:
    """Where to go on from here."""
    dearest = f"""
        SELECT id AS run, agent, team, status, reason, steps, cost_nano_usd / 1e9 AS usd, started_at, ended_at
        FROM runs WHERE updated_at > now() - interval '24 hours' AND {_RUNS}
        ORDER BY cost_nano_usd DESC LIMIT 20
    """
    return [
        rows(
            "Dearest runs, 24 h",
            Sql(dearest),
            units={"usd": USD},
            links={"run": (TEMPORAL_LINK, RUN_LINK)},
            text="A click on a run leads to it in the Temporal UI.",
        )
    ]


def house() -> Sequence[Panel]:
    """Backups, Redis, the books."""
    backups = """
        SELECT started_at, finished_at, kind, success, size_bytes, location, error_message FROM backup_logs
        ORDER BY started_at DESC LIMIT 20
    """
    return [
        rows("Backups", Sql(backups), units={"size_bytes": BYTES}),
        lines(
            "Redis memory",
            over_time("max(curb_redis_memory_used_bytes)", "used"),
            over_time("max(curb_redis_memory_limit_bytes) > 0", "limit"),
            unit=BYTES,
        ),
        lines(
            "Redis evictions",
            over_time("max(curb_redis_evicted_keys)", "keys"),
            text="Must be nothing: what Redis evicts, curb no longer counts.",
        ),
        lines("Redis connections", over_time("max(curb_redis_connections)", "connections")),
        lines(
            "Waiting for the ledger",
            over_time("max(curb_outbox_lag_seconds)", "age of the oldest event"),
            unit=SECONDS,
            text="The outbox between Redis and PostgreSQL.",
        ),
        lines(
            "In doubt", over_time("max(curb_in_doubt_dollars)", "at most"), unit=USD, text="Counted as spent."
        ),
        lines(
            "Waiting for who keeps traces", over_time("max by (target) (curb_trace_backlog)", "{{target}}")
        ),
    ]


def _per_minute(by: str, counted: str) -> Query:
    return over_time(f"60 * sum by ({by}) (rate({counted}[$__rate_interval]))", f"{{{{{by}}}}}")


def _users() -> Sql:
    return Sql(
        """
        SELECT user_id AS "user", sum(cost_nano_usd)::float8 / 1e9 AS usd FROM usage_users
        WHERE day = current_date AND user_id <> '' GROUP BY 1 ORDER BY usd DESC LIMIT 20
        """
    )


def _teams() -> Sql:
    return Sql(
        f"""
        SELECT coalesce(nullif(team, ''), 'no team') AS team, sum(total_cost_usd)::float8 AS usd
        FROM llm_usage WHERE day = current_date AND {_RUNS} AND {matches("deployment", "model")}
        GROUP BY 1 ORDER BY usd DESC LIMIT 20
        """
    )


def _violations() -> Sql:
    return Sql(
        f"""
        SELECT rule, scope, agent, team, user_id AS "user", sum(refused)::bigint AS refused,
               max(last_at) AS last
        FROM rate_limit_violations WHERE minute > now() - interval '24 hours' AND {_RUNS}
        GROUP BY 1, 2, 3, 4, 5 ORDER BY refused DESC LIMIT 50
        """
    )
