"""How a run's history grows, and its time per step, over 300 steps of one workflow."""

from collections.abc import Sequence

from temporalio.api.history.v1 import HistoryEvent

from bench.report import Figure
from bench.world import worker, world

_STEPS = 300
_LOOKED_AT = (10, 100, 300)
_WIDTH = 5  # steps averaged around each


async def measure(quick: bool) -> Sequence[Figure]:
    """Bytes and milliseconds per step at steps 10, 100 and 300 (quick: of a run of 60)."""
    steps = 60 if quick else _STEPS
    async with world() as here, worker(here):
        await here.finished("steps-10")
        handle = await here.start(f"steps-{steps}")
        result = await handle.result()
        if (result.status, result.steps) != ("completed", steps):
            raise SystemExit(f"bench: {result}")
        history = await handle.fetch_history()
    events = list(history.events)
    starts = _steps(events)
    total = sum(event.ByteSize() for event in events)
    figures = [
        Figure("steps", steps),
        Figure("whole history", total / 1000, "kB"),
        Figure("events a step", len(events) / steps),
    ]
    for step in _LOOKED_AT:
        if step <= steps:
            figures += _at(step, events, starts)
    sizes = {figure.name: figure.value for figure in figures}
    last = max(step for step in _LOOKED_AT if step <= steps)
    growth = sizes[f"history at step {last}"] / sizes["history at step 10"]
    return [*figures, Figure(f"history a step, step {last} / step 10", growth, "x", at_most=1.05)]


def _at(step: int, events: Sequence[HistoryEvent], starts: Sequence[int]) -> list[Figure]:
    """The mean over some steps that end with this one; the last step of all has no tool call."""
    last = min(step, len(starts) - 1) - 1
    first = last - _WIDTH
    size = sum(event.ByteSize() for event in events[starts[first] : starts[last]])
    begin, end = (events[starts[each]].event_time.ToMicroseconds() for each in (first, last))
    return [
        Figure(f"history at step {step}", size / _WIDTH, "bytes/step"),
        Figure(f"time at step {step}", (end - begin) / 1000 / _WIDTH, "ms/step"),
    ]


def _steps(events: Sequence[HistoryEvent]) -> list[int]:
    """Where each step begins: the events that ask for a model call."""
    return [
        index
        for index, event in enumerate(events)
        if event.activity_task_scheduled_event_attributes.activity_type.name == "call_model"
    ]
