"""AI factory - runs: which run, how far, how much, what it waits for; and the steps of one of them."""

from collections.abc import Sequence

from grafana_foundation_sdk.builders import dashboard as builders

from deploy.grafana.frame import Dashboard, frame, section
from deploy.grafana.panels import (
    HALF,
    RUN_LINK,
    SECONDS,
    TEMPORAL_LINK,
    THIRD,
    USD,
    Panel,
    bars,
    lines,
    number,
    rows,
)
from deploy.grafana.queries import Sql, matches, over_time, quantile

_HERE = f"{matches('agent', 'agent')} AND {matches('team', 'team')}"
_AGENT = 'agent=~"$agent"'
_LINKS = {"run": (TEMPORAL_LINK, RUN_LINK)}
_TOLD = {"usd": USD, "budget_usd": USD, "age": SECONDS, "lasted": SECONDS}


def dashboard() -> Dashboard:
    """Runs from PostgreSQL; what there is of them by the minute from Prometheus."""
    made = frame("curb-runs", "AI factory - runs", "Runs, what they cost and where they stand.", hours=24)
    made.with_variable(builders.TextBoxVariable("run").label("run").default_value(""))
    section(made, "Now", _now())
    section(made, "How they end", _ends())
    section(made, "What they cost", _costs())
    section(made, "One run: choose it above, or by a link in a table", _one())
    return made


def _now() -> Sequence[Panel]:
    live = f"FROM runs WHERE ended_at IS NULL AND {_HERE}"
    table = f"""
        SELECT id AS run, agent, team, user_id AS "user", mode, status, waiting_for, steps,
               cost_nano_usd / 1e9 AS usd, budget_nano_usd / 1e9 AS budget_usd,
               extract(epoch FROM now() - started_at)::float8 AS age
        {live} ORDER BY started_at LIMIT 200
    """
    questions = f"""
        SELECT count(*) AS questions FROM run_events AS e JOIN runs AS r ON r.id = e.run_id
        WHERE e.kind LIKE 'escalation%' AND e.at > now() - interval '24 hours' AND {_HERE}
    """
    return [
        number("Live", Sql(f"SELECT count(*) AS runs {live}")).span(THIRD),
        number("Waiting", Sql(f"SELECT count(*) AS runs {live} AND waiting_for <> ''")).span(THIRD),
        number("Questions to people, 24 h", Sql(questions)).span(THIRD),
        rows("Live runs", Sql(table), units=_TOLD, links=_LINKS, text="The oldest first."),
    ]


def _ends() -> Sequence[Panel]:
    ended = f"""
        SELECT status, count(*) AS runs FROM runs WHERE $__timeFilter(ended_at) AND {_HERE}
        GROUP BY status ORDER BY runs DESC
    """
    return [
        bars("How runs ended", Sql(ended), unit="short").span(THIRD),
        lines(
            "Runs ended per minute",
            over_time(
                f"60 * sum by (status) (rate(agent_task_completion_total{{{_AGENT}}}[$__rate_interval]))",
                "{{status}}",
            ),
            text="stopped counts as killed, expired as failed.",
        ),
        lines(
            "Steps of a run",
            over_time(
                quantile(0.5, "agent_steps_per_task", _AGENT, window="1h"), "half of them have at most"
            ),
            over_time(quantile(0.95, "agent_steps_per_task", _AGENT, window="1h"), "19 of 20"),
        ),
    ]


def _costs() -> Sequence[Panel]:
    dearest = f"""
        SELECT id AS run, agent, team, user_id AS "user", status, reason, steps, cost_nano_usd / 1e9 AS usd,
               budget_nano_usd / 1e9 AS budget_usd, started_at,
               extract(epoch FROM coalesce(ended_at, now()) - started_at)::float8 AS lasted
        FROM runs WHERE $__timeFilter(started_at) AND {_HERE} ORDER BY cost_nano_usd DESC LIMIT 100
    """
    each = f"""
        SELECT agent, count(*) AS runs, count(*) FILTER (WHERE status = 'completed') AS completed,
               sum(cost_nano_usd)::float8 / 1e9 AS usd,
               sum(cost_nano_usd)::float8 / 1e9 / nullif(count(*) FILTER (WHERE status = 'completed'), 0)
                   AS usd_per_completed,
               avg(steps)::float8 AS steps
        FROM runs WHERE $__timeFilter(ended_at) AND {_HERE} GROUP BY agent ORDER BY usd DESC
    """
    hourly = f"""
        SELECT date_trunc('hour', started_at) AS time, sum(cost_nano_usd)::float8 / 1e9 AS usd
        FROM runs WHERE $__timeFilter(started_at) AND {_HERE} GROUP BY 1 ORDER BY 1
    """
    return [
        rows("Spend by run", Sql(dearest), units=_TOLD, links=_LINKS, text="The dearest first."),
        rows("Cost per task, by agent", Sql(each), units={"usd": USD, "usd_per_completed": USD}).span(HALF),
        lines("Spend of runs, by the hour of their start", Sql(hourly, as_lines=True), unit=USD).span(HALF),
    ]


def _one() -> Sequence[Panel]:
    run = "${run:sqlstring}"
    whole = f"""
        SELECT id AS run, agent, team, user_id AS "user", mode, status, reason, waiting_for, steps,
               cost_nano_usd / 1e9 AS usd, budget_nano_usd / 1e9 AS budget_usd, parent, started_at, ended_at
        FROM runs WHERE id = {run} OR parent = {run} ORDER BY started_at
    """
    steps = f"""
        SELECT step, number AS attempt, deployment, state, status, error_type, cost_nano_usd / 1e9 AS usd,
               input_tokens + cache_read_tokens + cache_write_tokens AS input_tokens, output_tokens,
               extract(epoch FROM done_at - at)::float8 AS lasted, at
        FROM attempts WHERE run_id = {run} ORDER BY step, at, number LIMIT 1000
    """
    events = f"SELECT at, kind FROM run_events WHERE run_id = {run} ORDER BY at DESC LIMIT 200"
    return [
        rows("The run and its children", Sql(whole), units=_TOLD, links=_LINKS),
        rows("Its steps", Sql(steps), units=_TOLD).span(16),
        rows("What happened to it", Sql(events)).span(THIRD),
    ]
