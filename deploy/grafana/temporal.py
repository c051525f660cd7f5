"""AI factory - Temporal: the server under the runs, by its own metrics."""

from collections.abc import Sequence

from deploy.grafana.frame import Dashboard, frame, section
from deploy.grafana.panels import BYTES, HALF, SECONDS, SHARE, TEMPORAL_LINK, Panel, lines, rows
from deploy.grafana.queries import Query, Sql, matches, over_time, quantile

_OURS = 'namespace=~"$namespace"'
_WORKERS = 'namespace=~"$namespace", task_queue=~"curb.*"'
_WHERE = "{{task_queue}} {{worker_type}}"
_OUTCOMES = ("success", "failed", "cancel", "terminate", "timeout", "continued_as_new")


def dashboard() -> Dashboard:
    """What to look at when runs are slow although nobody holds them back."""
    made = frame("curb-temporal", "AI factory - Temporal", "The server that runs are workflows of.")
    section(made, "Workflows and activities", _work())
    section(made, "Queues", _queues())
    section(made, "Server", _server())
    return made


def _work() -> Sequence[Panel]:
    waiting = f"""
        SELECT id AS run, agent, status, waiting_for, updated_at FROM runs
        WHERE ended_at IS NULL AND waiting_for <> '' AND {matches("agent", "agent")}
        ORDER BY updated_at LIMIT 200
    """
    ended = " or ".join(
        f'label_replace({_per_minute(f"workflow_{each}", "workflowType")}, "as", "{each}", "", "")'
        for each in _OUTCOMES
    )
    return [
        lines("Workflows ended per minute", over_time(ended, "{{workflowType}}: {{as}}")).span(HALF),
        lines(
            "Activities completed per minute",
            over_time(_per_minute("activity_success", "activityType"), "{{activityType}}"),
        ).span(HALF),
        lines(
            "p95 of activities, with all retries",
            over_time(
                quantile(0.95, "activity_end_to_end_latency", _OURS, by="activityType"), "{{activityType}}"
            ),
            unit=SECONDS,
        ).span(HALF),
        lines(
            "Schedules started per minute",
            over_time(_per_minute("schedule_action_success", "namespace"), "{{namespace}}"),
            text="Sweeps, probes, reports, resets. None for long: nothing watches.",
        ).span(HALF),
        rows("Runs that wait, and for what", Sql(waiting), links={"run": (TEMPORAL_LINK,)}),
    ]


def _queues() -> Sequence[Panel]:
    late = quantile(0.95, "task_schedule_to_start_latency", _OURS, by="taskqueue, task_type")
    sync, all_of_them = (
        f"sum by (taskqueue) (rate({each}{{{_OURS}}}[5m]))" for each in ("poll_success_sync", "poll_success")
    )
    return [
        lines(
            "p95 from scheduled to started",
            over_time(late, "{{taskqueue}} {{task_type}}"),
            unit=SECONDS,
            text="Grows when there are too few workers.",
        ).span(HALF),
        lines(
            "Tasks that found a worker waiting",
            over_time(f"{sync} / {all_of_them}", "{{taskqueue}}"),
            unit=SHARE,
            text="Falls when there are too few workers.",
        ).span(HALF),
        lines(
            "Free slots of workers",
            over_time(
                f"sum by (task_queue, worker_type) (temporal_worker_task_slots_available{{{_WORKERS}}})",
                _WHERE,
            ),
            text="None left: the worker takes no more. From Temporal's SDK, CURB_TEMPORAL_METRICS_PORT.",
        ).span(HALF),
        lines(
            "p95 from scheduled to started, as workers see it",
            over_time(
                quantile(0.95, "temporal_activity_schedule_to_start_latency", _WORKERS, by="task_queue"),
                "{{task_queue}}",
            ),
            unit=SECONDS,
        ).span(HALF),
    ]


def _server() -> Sequence[Panel]:
    return [
        lines("Requests per second", _requests("service_requests", "operation")),
        lines("Errors per second", _requests("service_error_with_type", "error_type")),
        lines(
            "p95 of requests",
            over_time(
                quantile(
                    0.95, "service_latency", 'service_name="frontend", operation!~"Poll.*"', by="operation"
                ),
                "{{operation}}",
            ),
            unit=SECONDS,
        ),
        lines(
            "p95 of the database",
            over_time(quantile(0.95, "persistence_latency", by="service_name"), "{{service_name}}"),
            unit=SECONDS,
        ),
        lines(
            "Requests to the database per second",
            over_time(
                "sum by (service_name) (rate(persistence_requests[$__rate_interval]))", "{{service_name}}"
            ),
        ),
        lines("Memory", over_time("sum by (instance) (memory_heap)", "{{instance}}"), unit=BYTES),
    ]


def _per_minute(metric: str, by: str) -> str:
    return f"60 * sum by ({by}) (rate({metric}{{{_OURS}}}[$__rate_interval]))"


def _requests(metric: str, by: str) -> Query:
    chosen = f'{metric}{{service_name="frontend"}}'
    return over_time(f"topk(10, sum by ({by}) (rate({chosen}[$__rate_interval])))", f"{{{{{by}}}}}")
