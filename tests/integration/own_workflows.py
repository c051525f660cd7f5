"""What a user's module may hold: agents, and workflows that make supervised model calls."""

import asyncio
from datetime import timedelta

from temporalio import activity, workflow

from curb import Agent, RunLimits, supervised_model_call, usd

talker = Agent(name="talker", tier="openai/gpt-5-mini@say-12")
second = Agent(name="second", tier="openai/gpt-5-mini@say-20")
slow_talker = Agent(name="slow-talker", tier="openai/gpt-5-mini@say-60+slow-stream-40")
poor = Agent(name="poor", tier="openai/gpt-5-mini@say-400", run_budget_nano_usd=usd("0.0025"))
patient = Agent(
    name="patient", tier="openai/gpt-5-mini@say-400", run_budget_nano_usd=usd("0.0025"), on_budget="pause"
)
brief = Agent(name="brief", tier="openai/gpt-5-mini@say-12", limits=RunLimits(max_steps=2))


@activity.defn
async def shout(text: str) -> str:
    return text.upper()


@workflow.defn
class Talk:
    """Says the same thing several times as one agent, and returns what it cost, answer by answer."""

    @workflow.run
    async def run(self, agent: str, times: int) -> list[int]:
        costs = []
        for number in range(times):
            answer = await supervised_model_call(agent, f"Part {number}, please.")
            assert answer.text
            costs.append(answer.cost_nano_usd)
        return costs


@workflow.defn
class TalkAs:
    """Two calls as an agent that exists only here, for a team and a user of its name."""

    @workflow.run
    async def run(self, name: str, deployment: str) -> list[int]:
        agent = Agent(name=name, tier=deployment)
        answers = [
            await supervised_model_call(agent, words, team=name, user=name) for words in ("One.", "Two.")
        ]
        return [answer.cost_nano_usd for answer in answers]


@workflow.defn
class TalkAndWait:
    """Makes a call, waits for a signal, and makes another."""

    def __init__(self) -> None:
        self._go = False

    @workflow.signal
    def go(self) -> None:
        self._go = True

    @workflow.run
    async def run(self, agent: str) -> list[int]:
        first = await supervised_model_call(agent, "First, please.")
        await workflow.wait_condition(lambda: self._go)
        last = await supervised_model_call(agent, "Then the second.")
        return [first.cost_nano_usd, last.cost_nano_usd]


@workflow.defn
class TalkToTwo:
    """Two agents at once, one of them twice, and an activity of the user's own."""

    @workflow.run
    async def run(self, one: str, other: str) -> str:
        answers = await asyncio.gather(
            supervised_model_call(one, "One."),
            supervised_model_call(other, "Other."),
            supervised_model_call(one, "One again."),
        )
        assert all(answer.text for answer in answers)
        return "done"


@workflow.defn
class TalkAcross:
    """Continues as new between its calls; the conversation goes on."""

    @workflow.run
    async def run(self, agent: str, left: int) -> None:
        await supervised_model_call(agent, f"There are {left} to go.")
        if left > 1:
            workflow.continue_as_new(args=[agent, left - 1])


@workflow.defn
class Shouting:
    """Uses an activity of the user's own."""

    @workflow.run
    async def run(self, text: str) -> str:
        return await workflow.execute_activity(shout, text, start_to_close_timeout=timedelta(seconds=10))
