"""The scenes. Each starts one run, does to it what the story asks for, and returns how it ended."""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from gateway.policy.money import format_usd
from worker.client import Launch, Progress, TopUp
from worker.demo.stage import SceneFailed, Stage

_SWITCH = "kill:agent:talker"


@dataclass(frozen=True, slots=True)
class Ending:
    """How a scene came out. kill_ms: milliseconds from SET to the provider's stream being cut."""

    run: Progress
    kill_ms: float | None = None


Scene = Callable[[Stage], Awaitable[Ending]]


async def steady(stage: Stage) -> Ending:
    """An agent that does its work with real file tools."""
    await _launch(stage, "steady", "What is in these files?")
    ended = await stage.ended("steady")
    _expect(ended, "completed")
    notes = stage.files / "steady" / "notes.md"
    if not notes.exists():
        raise SceneFailed(f"steady: {notes} was not written")
    stage.say(
        "steady", f"completed in {ended.steps} steps for {format_usd(ended.cost_nano_usd)}; wrote notes.md"
    )
    return Ending(ended)


async def runaway(stage: Stage) -> Ending:
    """An agent that does the same thing again and again: a rule stops it."""
    await _launch(stage, "runaway", "Find the answer.")
    ended = await stage.ended("runaway")
    _expect(ended, "stopped")
    stage.say("runaway", f"stopped by rule after {ended.steps} steps: {ended.reason}")
    return Ending(ended)


async def overspender(stage: Stage) -> Ending:
    """An agent whose money is not enough: it waits, is topped up, and goes on where it stood."""
    await _launch(stage, "overspender", "Explain everything.")
    paused = await stage.until(
        "overspender", lambda run: "budget" in run.waiting_for, "a pause for the budget"
    )
    stage.say(
        "overspender",
        f"paused at step {paused.steps}: {format_usd(paused.cost_nano_usd)} of "
        f"{format_usd(paused.budget_nano_usd or 0)} spent, the next call might not fit",
    )
    done = await stage.desk.runs.top_up("overspender", TopUp(usd="0.03"))
    stage.say("overspender", f"topped up by $0.03; it may spend ${done.limit_usd} now")
    ended = await stage.ended("overspender")
    _expect(ended, "completed")
    if ended.steps < paused.steps:
        raise SceneFailed("overspender: it began again instead of going on")
    stage.say(
        "overspender", f"went on and completed at step {ended.steps} for {format_usd(ended.cost_nano_usd)}"
    )
    return Ending(ended)


async def shadow(stage: Stage) -> Ending:
    """An agent on probation: its model is paid for, its side effects do not happen."""
    await _launch(stage, "shadow", "What is in these files?")
    ended = await stage.ended("shadow")
    _expect(ended, "completed")
    actions = await stage.desk.store.runs.events("shadow", "shadow_action")
    if (stage.files / "shadow" / "notes.md").exists():
        raise SceneFailed("shadow: it wrote notes.md all the same")
    if not actions:
        raise SceneFailed("shadow: its write_file is not on record")
    would = str(actions[0].body.get("would", "")).rpartition("executed. ")[2]
    stage.say("shadow", f"completed; notes.md was not written. On record: {would}")
    return Ending(ended)


async def talker(stage: Stage) -> Ending:
    """A call in flight, cut by a plain SET over the Redis wire; after DEL the run goes on."""
    await _launch(stage, "talker", "Tell me a story.")
    row = await stage.streaming_row("talker")
    at = time.time()
    await stage.redis("SET", _SWITCH, "manual:demo:too_chatty")
    cut = await stage.final_row(row["id"])
    milliseconds = round(cut["done_ms"] - at * 1000, 1)
    stage.say("talker", f"SET {_SWITCH}: the provider's stream was cut after {milliseconds:.0f} ms")
    await stage.until("talker", lambda run: "switch" in run.waiting_for, "waiting for the switch")
    stage.say("talker", f"waits, having lost nothing; DEL {_SWITCH}")
    await stage.redis("DEL", _SWITCH)
    ended = await stage.ended("talker")
    _expect(ended, "completed")
    stage.say("talker", "went on and completed")
    return Ending(ended, milliseconds)


async def endless(stage: Stage) -> Ending:
    """A run ended by a Temporal signal in the middle of a call, as from the Web UI."""
    await _launch(stage, "endless", "Tell me a very long story.")
    await stage.streaming_row("endless")
    at = time.monotonic()
    await stage.desk.runs.kill("endless", "seen enough")
    ended = await stage.ended("endless")
    _expect(ended, "killed")
    stage.say("endless", f"killed by signal in the middle of a call, closed after {_ms_since(at):.0f} ms")
    return Ending(ended)


async def survivor_begins(stage: Stage) -> None:
    """A run whose worker is killed -9 while the model answers."""
    await _launch(stage, "survivor", "What is in these files?")
    await stage.streaming_row("survivor")
    await stage.worker.kill()
    stage.say("survivor", "its worker was killed -9 in the middle of a model call")
    pid = await stage.worker.start()
    stage.say("survivor", f"a new worker starts (pid {pid}); Temporal waits 20 s for the old one's heartbeat")


async def survivor(stage: Stage) -> Ending:
    """It goes on with the new worker; the first attempt is in doubt until the invoice tells."""
    ended = await stage.ended("survivor")
    _expect(ended, "completed")
    stage.say("survivor", f"completed with the new worker for {format_usd(ended.cost_nano_usd)}")
    return Ending(ended)


SCENES: Mapping[str, Scene] = {
    "steady": steady,
    "runaway": runaway,
    "overspender": overspender,
    "shadow": shadow,
    "talker": talker,
    "endless": endless,
    "survivor": survivor,
}


async def _launch(stage: Stage, agent: str, task: str) -> None:
    await stage.desk.runs.launch(Launch(agent=agent, task=task, run_id=agent, application="demo"))


def _expect(ended: Progress, status: str) -> None:
    if ended.status != status:
        reason = f" ({ended.reason})" if ended.reason else ""
        raise SceneFailed(f"{ended.run_id}: {ended.status}{reason}, and not {status}")


def _ms_since(at: float) -> float:
    return (time.monotonic() - at) * 1000
