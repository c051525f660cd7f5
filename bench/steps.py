"""Steps of supervised runs beside a bare Temporal loop with as many activities per step.

The bare loop buys nothing and remembers nothing. Beside it stands the same loop with a plain,
unsupervised streaming call to the same simulated provider in each step: what it costs to ask at all.
CPU time is counted per process as well, because it does not change when others use the machine too.
"""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence

import psutil

from bench.bare import RUNS, BareLoop
from bench.report import Figure
from bench.world import World, cpu_seconds, median, worker, world
from worker.stack import SERVERS

_STEPS_ALONE, _STEPS_TOGETHER, _RUNS = 60, 20, 50
_LABELS = {
    "bare": "bare loop",
    "plain": "bare loop with a plain model call",
    "supervised": "supervised",
}
Run = Callable[[int], Awaitable[None]]


async def measure(quick: bool) -> Sequence[Figure]:
    """Milliseconds a step of one run, steps a second of fifty; each kind in turn, the median of rounds."""
    rounds = 1 if quick else 5
    async with world() as here, worker(here) as supervised, worker(here, "bare") as bare:
        kinds: dict[str, Run] = {
            "bare": lambda steps: _bare(here, steps, "no_model"),
            "plain": lambda steps: _bare(here, steps, "plain_model"),
            "supervised": lambda steps: here.finished(f"steps-{steps}"),
        }
        for run in kinds.values():
            await run(10)  # warm: caches, connections, compiled scripts
        alone = {name: list[float]() for name in kinds}
        together = {name: list[float]() for name in kinds}
        for _ in range(rounds):
            for name, run in kinds.items():
                alone[name].append(await _alone(run))
        for _ in range((rounds + 1) // 2):
            for name, run in kinds.items():
                together[name].append(await _together(run))
        cpu = [await _cpu(here, kinds["bare"], "bare", bare)]
        cpu += [await _cpu(here, kinds["supervised"], "supervised", supervised)]
    return [*_times(alone, together), *(figure for figures in cpu for figure in figures)]


async def _cpu(here: World, run: Run, name: str, worker_process: psutil.Process) -> list[Figure]:
    """CPU milliseconds a step over 50 runs, by process."""
    processes = {"worker": worker_process} | {each: here.server(each) for each in SERVERS}
    before = {each: cpu_seconds(process) for each, process in processes.items()}
    await _together(run)
    steps = _RUNS * _STEPS_TOGETHER
    used = {each: (cpu_seconds(processes[each]) - before[each]) * 1000 / steps for each in processes}
    return [
        Figure(f"50 runs, {name}, CPU of {each}", used[each], "ms/step")
        for each in processes
        if used[each] >= 0.1
    ]


def _times(alone: dict[str, list[float]], together: dict[str, list[float]]) -> list[Figure]:
    """Medians, and medians of the ratios within each round: what others did meanwhile hit both."""
    figures = []
    for name, label in _LABELS.items():
        figures.append(Figure(f"1 run, {label}", median(alone[name]), "ms/step"))
    figures.append(Figure("1 run, supervised / bare", _ratio(alone, "bare"), "x", at_most=1.5))
    figures.append(Figure("1 run, supervised / plain model call", _ratio(alone, "plain"), "x"))
    for name, label in _LABELS.items():
        figures.append(Figure(f"50 runs, {label}", median(together[name]), "steps/s"))
    figures.append(Figure("50 runs, supervised / bare", _ratio(together, "bare"), "x", at_least=0.7))
    figures.append(Figure("50 runs, supervised / plain model call", _ratio(together, "plain"), "x"))
    return figures


def _ratio(measured: dict[str, list[float]], baseline: str) -> float:
    pairs = zip(measured["supervised"], measured[baseline], strict=True)
    return median([supervised / bare for supervised, bare in pairs])


async def _alone(run: Run) -> float:
    """Milliseconds a step, its share of opening and closing the run included."""
    started = time.perf_counter()
    await run(_STEPS_ALONE)
    return (time.perf_counter() - started) * 1000 / _STEPS_ALONE


async def _together(run: Run) -> float:
    """Steps a second over all runs."""
    started = time.perf_counter()
    await asyncio.gather(*(run(_STEPS_TOGETHER) for _ in range(_RUNS)))
    return _RUNS * _STEPS_TOGETHER / (time.perf_counter() - started)


async def _bare(here: World, steps: int, model: str) -> None:
    await here.client.execute_workflow(
        BareLoop.run, args=[steps, model], id=f"bare-{uuid.uuid4().hex[:8]}", task_queue=RUNS
    )
