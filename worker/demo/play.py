"""Sets the stage, plays the scenes, and tells how it ended."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateway import reconcile
from gateway.policy.scopes import Scope, ScopeKind
from worker.cli import logs
from worker.cli.development import house_of, new_stack, prepare
from worker.cli.errors import Failed, ServersMissing
from worker.cli.loops import stopped_by_signals
from worker.cli.output import console, print_json, say
from worker.cli.servers import Desk, open_desk, who
from worker.config import load_config
from worker.demo.outcome import Outcome, document, tell
from worker.demo.scenes import SCENES, Ending, steady, survivor_begins
from worker.demo.stage import Narrator, SceneFailed, Stage, Worker, clear, furnish
from worker.desk.reports import ReportDesk, rendered
from worker.front_door import Beside, Place, serve_front_door
from worker.settings import Settings, load_settings
from worker.stack import Stack
from worker.stack.ports import free_port
from worker.tracing import trace_targets
from worker.wiring import Servers

_LOOK_SECONDS, _LOOKS_FOR_TRACES = 0.25, 120
_SOFT = (ScopeKind.TIER, ScopeKind.MODEL)


async def play(*, keep: bool, live: bool, as_json: bool) -> bool:
    """Play everything; whether it came out as it should."""
    template, values = _live() if live else ("curb.yaml", {})
    settings = _settings()
    directory = settings.data_dir
    if Stack.find(directory) is not None:
        raise Failed(f"a demo runs already in {directory}; end that first")
    logs.configure(settings)
    narrator = Narrator(_writer(as_json=as_json))
    await Stack.sweep(directory)
    clear(directory)
    config = furnish(directory, template, **values)
    with stopped_by_signals() as stop:
        task = asyncio.ensure_future(
            _play(settings, config, narrator, stop, keep=keep, live=live, as_json=as_json)
        )
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not task.done() and not keep:
            task.cancel()
        return await task


async def _play(
    settings: Settings,
    config: Path,
    narrator: Narrator,
    stop: asyncio.Event,
    *,
    keep: bool,
    live: bool,
    as_json: bool,
) -> bool:
    async with _stage(settings, config, narrator, live=live) as stage:
        outcome = await _live_story(stage) if live else await _story(stage)
        if as_json:
            print_json(document(outcome))
        else:
            tell(outcome, settings.data_dir, config, keep=keep)
        if keep:
            say("everything stays up until Ctrl-C")
            await stop.wait()
    return outcome.went_well


@contextlib.asynccontextmanager
async def _stage(settings: Settings, config: Path, narrator: Narrator, *, live: bool) -> AsyncIterator[Stage]:
    """The stack, a worker and a desk; all taken down at the end, data and logs stay."""
    stack = new_stack(settings, live=live)
    narrator("stage", "starting Valkey, PostgreSQL, Temporal" + ("" if live else ", a simulated provider"))
    worker = Worker(settings.data_dir, config, metrics_port=settings.metrics_port)
    await stack.start()
    try:
        known = house_of(settings, load_config(config), stack.record)
        await prepare(known)
        pid = await worker.start()
        async with open_desk(known) as desk, _front_door(desk) as url:
            narrator("stage", f"servers are up; a worker starts (pid {pid})")
            narrator("stage", f"watch {url}/console and the Temporal UI, {known.places.temporal_ui}")
            yield Stage(desk, worker, narrator, settings.data_dir, f"{url}/console")
    finally:
        await worker.stop()
        await stack.stop()


@contextlib.asynccontextmanager
async def _front_door(desk: Desk) -> AsyncIterator[str]:
    """The console, and everything else that the front door has, open to this machine; yields its URL."""
    places, stop = desk.house.places, asyncio.Event()
    opened, place = asyncio.Event(), Place("127.0.0.1", free_port(), is_open=True)
    door = asyncio.create_task(
        serve_front_door(
            Servers(places.redis_url, places.database_url),
            desk.house.settings.model_copy(update={"metrics_port": 0}),
            desk.house.config,
            place,
            stop=stop,
            beside=Beside(desk.temporal, places.temporal_ui),
            on_ready=lambda url: opened.set(),
        )
    )
    try:
        ready = asyncio.ensure_future(opened.wait())
        await asyncio.wait((door, ready), return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if door.done():
            await door
        yield place.url
    finally:
        stop.set()
        await door


async def _story(stage: Stage) -> Outcome:
    """The survivor's worker is killed first, so that the other scenes pass while Temporal notices."""
    problems: list[str] = []
    try:
        await survivor_begins(stage)
    except (SceneFailed, TimeoutError) as error:
        problems.append(str(error) or "survivor: took too long")
    played = await asyncio.gather(*(scene(stage) for scene in SCENES.values()), return_exceptions=True)
    endings: dict[str, Ending] = {}
    for name, result in zip(SCENES, played, strict=True):
        if isinstance(result, Ending):
            endings[name] = result
        elif isinstance(result, Exception):
            problems.append(str(result) or f"{name}: {type(result).__name__}")
        else:
            raise result
    stage.say("ledger", "resolving what is in doubt against the provider's invoice")
    return await _settle(stage, endings, problems)


async def _live_story(stage: Stage) -> Outcome:
    problems: list[str] = []
    endings: dict[str, Ending] = {}
    try:
        endings["steady"] = await steady(stage)
    except SceneFailed as error:
        problems.append(str(error))
    return await _settle(stage, endings, problems)


async def _settle(stage: Stage, endings: dict[str, Ending], problems: list[str]) -> Outcome:
    """Resolve, verify, and read again what every run cost: doubts have become costs."""
    desk = stage.desk
    report = await reconcile.resolve(desk.authority, desk.store, desk.house.usage(), min_age_seconds=0)
    if not report.ok:
        problems.append(f"the books differ: {len(report.differences)} rows (`curb ledger verify` shows them)")
    settled = {
        name: replace(ending, run=await desk.runs.now(ending.run.run_id)) for name, ending in endings.items()
    }
    overspend = max(report.overspend_nano_usd, await _over_budgets(stage))
    stage.say("report", "closing the day early, as `curb report daily --close` does")
    page = await _report_of_the_day(stage)
    alerts = await desk.store.alerts.recent(ended=True)
    await _traces_told(stage)
    ui = desk.house.places.temporal_ui
    return Outcome(settled, problems, report, overspend, ui, stage.console, page, len(alerts))


async def _traces_told(stage: Stage) -> None:
    """Where somebody keeps traces, wait until they have them; the rest is told at the next start."""
    traces = stage.desk.store.traces
    if not trace_targets(stage.desk.house.settings, stage.desk.house.config.traces):
        return
    stage.say("traces", "waiting until they are told")
    for _ in range(_LOOKS_FOR_TRACES):
        if not any(each.waiting for each in await traces.backlog()):
            return
        await asyncio.sleep(_LOOK_SECONDS)


async def _report_of_the_day(stage: Stage) -> Path:
    """The day as its cost report tells it, for a browser."""
    page = stage.directory / "report.html"
    desk = stage.desk
    found = await ReportDesk(desk.store, desk.authority, desk.house.config).close_today(by=who())
    page.write_text(rendered(found, "html", desk.house.workflow_url), encoding="utf-8")
    return page


async def _over_budgets(stage: Stage) -> int:
    """By how much the hard budgets were exceeded, the worst of them: zero."""
    over = [
        state.spent_nano_usd + state.held_nano_usd + state.in_doubt_nano_usd - state.limit_nano_usd
        for state in await stage.desk.authority.budgets()
        if state.limit_nano_usd is not None and Scope.parse(state.scope).kind not in _SOFT
    ]
    return max(0, *over, 0)


def _settings() -> Settings:
    """The demo has servers of its own, whatever the environment says; the usual port of /metrics may be
    somebody else's."""
    settings = load_settings()
    metrics_port = settings.metrics_port if "metrics_port" in settings.model_fields_set else 0
    return settings.model_copy(
        update={
            "data_dir": (settings.data_dir / "demo").resolve(),
            "redis_url": None,
            "database_url": None,
            "temporal_address": "",
            "metrics_port": metrics_port,
            "log_level": "error",
        }
    )


def _writer(*, as_json: bool) -> Any:
    if as_json:
        return lambda head, what: say(f"{head}{what}")
    out = console()
    return lambda head, what: out.print(f"[dim]{head[:8]}[/dim][bold]{head[8:]}[/bold]{what}", soft_wrap=True)


_LIVE = {
    "openai": ("OPENAI_API_KEY", "OPENAI_BASE_URL", "https://api.openai.com/v1", "openai/gpt-5-mini"),
    "anthropic": (
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_BASE_URL",
        "https://api.anthropic.com",
        "anthropic/claude-sonnet-4-5",
    ),
}


def _live() -> tuple[str, dict[str, str]]:
    """The provider whose key is there; its base URL may be another one (a proxy, the simulator)."""
    for provider, (key, base, usual, deployment) in _LIVE.items():
        if os.environ.get(key):
            url = os.environ.get(base) or usual
            return "live.yaml", {"provider": provider, "base_url": url, "deployment": deployment}
    raise ServersMissing("--live needs a key: set OPENAI_API_KEY or ANTHROPIC_API_KEY")
