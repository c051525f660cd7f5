"""One attempt, and a caller that goes away at the worst moment."""

import asyncio
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from gateway.attempt import Ended, Option, Sender
from gateway.calls import Message, ModelRequest, Text, WireRequest
from gateway.config import Api, Deployment, FamilyName, Provider
from gateway.leases import LeaseKeeper
from gateway.policy.pricing import Card, Price, Rates
from gateway.policy.usage import Usage
from gateway.providers.answers import Progress, ProviderAnswer
from gateway.providers.base import Http
from gateway.state.authority import Authority
from gateway.state.watcher import CallWatcher
from tests.budget_world import ask, held

MESSAGE = Message(role="assistant", parts=(Text(text="Hello."),))
ANSWER = ProviderAnswer(MESSAGE, "stop", Usage(10, 2), {}, "r1", None, 1)
CARD = Card(Rates(*[Fraction(1_000_000)] * 5))
PRICE = Price("p", "sim", "m", CARD, CARD)


class Wire:
    """A family that does one thing when it is sent something."""

    name: FamilyName = "openai"
    api: Api = "chat"

    def __init__(self, sends: Callable[[Progress], ProviderAnswer]) -> None:
        self._sends = sends

    def encode(self, request: ModelRequest, deployment: Deployment, max_output_tokens: int) -> bytes:
        return b"{}"

    def pass_on(self, request: WireRequest, deployment: Deployment, max_output_tokens: int) -> bytes:
        return b"{}"

    async def send(
        self,
        http: Http,
        provider: Provider,
        deployment: Deployment,
        body: bytes,
        *,
        progress: Progress | None = None,
        **how: Any,
    ) -> ProviderAnswer:
        assert progress is not None
        return self._sends(progress)


async def send(authority: Authority, sends: Callable[[Progress], ProviderAnswer]) -> Ended:
    reservation = await held(authority, ask("c1", 1000))
    deployment, provider = Deployment("sim/m", "sim", "m"), Provider("sim", "openai", "http://nowhere")
    request = ModelRequest(messages=())
    option = Option("quick", deployment, provider, Wire(sends), PRICE, request, b"{}", 2, 66, 10, 1000)
    watcher, leases = CallWatcher(authority), LeaseKeeper(authority, 5.0)
    async with Http() as http:
        try:
            return await Sender(http, watcher, leases).send(
                option, reservation, switches=(), run_ids=(), timeout_seconds=5
            )
        finally:
            await leases.close()
            await watcher.close()


async def test_an_answer_that_has_come_when_its_caller_goes_is_kept(authority: Authority) -> None:
    """Both happen in one turn of the loop: the answer is paid for, so it is settled and stored."""

    def answers_as_the_caller_goes(progress: Progress) -> ProviderAnswer:
        progress.sent = True
        asyncio.get_running_loop().call_soon(running.cancel)
        return ANSWER

    running = asyncio.create_task(send(authority, answers_as_the_caller_goes))
    await asyncio.wait([running])
    ended = running.result()

    assert ended.cancelled
    assert ended.answer == ANSWER
    assert (ended.settlement.state, ended.settlement.cost_nano_usd) == ("settled", 12)


async def test_a_bug_below_is_booked_by_what_had_been_sent(authority: Authority) -> None:
    def breaks(progress: Progress) -> ProviderAnswer:
        raise AssertionError("the answer was: my secret")

    def breaks_late(progress: Progress) -> ProviderAnswer:
        progress.sent = True
        return breaks(progress)

    unsent = await send(authority, breaks)
    await authority.close_attempt(unsent.settlement)
    sent = await send(authority, breaks_late)

    assert (unsent.settlement.state, sent.settlement.state) == ("released", "in_doubt")
    assert "secret" not in f"{unsent.error}{sent.error}{sent.settlement.error_message}"
