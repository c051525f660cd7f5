"""LedgerCallback: LangChain applications that call providers directly tell curb what they spent.

    ChatOpenAI(model="gpt-5-mini", callbacks=[LedgerCallback("support-bot")])

**For the ledger only: nothing is enforced.** The call is made and paid before curb hears of it, so no budget
holds it, no switch cuts it, and nothing of it is replayed. Point the client at the front door instead, and
all of that holds. Needs `langchain-core`.
"""

import asyncio
import atexit
import contextlib
import threading
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

import structlog
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, LLMResult

from gateway.calls import Caller
from gateway.errors import ConfigurationError, CurbError, StateUnavailable
from gateway.observed import Observed, Observer
from gateway.policy.money import MoneyError, NanoUsd, usd
from gateway.policy.usage import Usage
from gateway.prices import PriceBook
from gateway.state.authority import Authority
from worker.cli.servers import house, who
from worker.config import Config
from worker.wiring import Servers

_MOST_WAITING = 10_000
_RETRY_SECONDS = 0.5
_OWN_IDS = ("run-", "lc_")
log = structlog.get_logger(__name__)


class LedgerCallback(BaseCallbackHandler):
    """Posts the usage of every answer to curb's ledger, as observed; it enforces nothing.

    agent, team, user, session, tags: whose spending it is. provider: who bills, where the chat model does not
    know (OpenAI's client with another base URL does not). ceiling_usd_per_mtok: what a model without a known
    price costs in the books, with an alert. config, servers: of curb; None: curb.yaml and the environment,
    else the `curb dev` that runs here.

    Works in synchronous and asynchronous applications: a thread of its own does the posting, and tries
    again while Redis is away. `close` waits for it. A curb process must be running that drains the outbox.
    """

    def __init__(
        self,
        agent: str,
        *,
        team: str = "",
        user: str = "",
        session: str = "",
        tags: Mapping[str, str] | None = None,
        provider: str = "",
        ceiling_usd_per_mtok: str = "100",
        config: Config | None = None,
        servers: Servers | None = None,
    ) -> None:
        super().__init__()
        self._caller = Caller(
            agent=agent, team=team, user=user, session=session, tags=dict(tags or {}), endpoint="langchain"
        )
        self._provider = provider
        try:
            ceiling = usd(ceiling_usd_per_mtok)
        except MoneyError as error:
            raise ConfigurationError(f"ceiling_usd_per_mtok: {error}") from error
        if ceiling <= 0:
            raise ConfigurationError("ceiling_usd_per_mtok: must be more than $0")
        found, places = _places(config, servers)
        self._poster = _Poster(places, found, ceiling)

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """An answer is complete, streamed or not; see the base class."""
        for position, answer in enumerate(_answers(response)):
            said = answer.response_metadata
            self._poster.post(
                Observed(
                    caller=self._caller,
                    provider=self._provider or str(said.get("model_provider") or ""),
                    model=str(said.get("model_name") or said.get("model") or ""),
                    answer_id=_id_of(answer) or f"{run_id}:{position}",
                    usage=_usage_of(answer),
                    finish_reason=str(said.get("finish_reason") or said.get("stop_reason") or ""),
                )
            )

    def close(self, timeout_seconds: float = 10.0) -> bool:
        """Stop, after what was told so far is posted; False when that took too long. Called at exit, too."""
        return self._poster.close(timeout_seconds)


class _Poster:
    """Posts from a thread of its own, in the order in which it is told."""

    def __init__(self, servers: Servers, config: Config, ceiling: NanoUsd) -> None:
        self._servers = servers
        self._config = config
        self._ceiling = ceiling
        self._observer: Observer | None = None
        self._given_up = False
        self._waiting: asyncio.Queue[Observed | None] = asyncio.Queue(_MOST_WAITING)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="curb-ledger-callback", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def post(self, observed: Observed) -> None:
        """Take it, from whatever thread; what cannot be taken is said in the log."""
        if not self._tell(observed):
            log.error("the ledger misses a call: the callback is closed", model=observed.model)

    def close(self, timeout_seconds: float = 10.0) -> bool:
        self._tell(None)
        self._thread.join(timeout_seconds)
        atexit.unregister(self.close)
        self._given_up = True
        return not self._thread.is_alive()

    def _tell(self, observed: Observed | None) -> bool:
        try:
            self._loop.call_soon_threadsafe(self._put, observed)
        except RuntimeError:  # its loop is closed
            return False
        return True

    def _put(self, observed: Observed | None) -> None:
        try:
            self._waiting.put_nowait(observed)
        except asyncio.QueueFull:
            model = observed.model if observed is not None else ""
            log.error("the ledger misses a call: too many wait for Redis", model=model)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._work())
        finally:
            self._loop.close()

    async def _work(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            while (observed := await self._waiting.get()) is not None:
                await self._book(observed, stack)

    async def _book(self, observed: Observed, stack: contextlib.AsyncExitStack) -> None:
        """Post one call; while Redis is away, again and again until it is back or nobody waits any more."""
        while not self._given_up:
            try:
                self._observer = self._observer or await self._connected(stack)
                await self._observer.post(observed)
                return
            except StateUnavailable as error:
                log.warning("a call is not on the books yet", error=str(error))
            except CurbError as error:
                log.error("the ledger misses a call", model=observed.model, error=str(error))
                return
            await asyncio.sleep(_RETRY_SECONDS)
        log.error("the ledger misses a call: Redis is away", model=observed.model)

    async def _connected(self, stack: contextlib.AsyncExitStack) -> Observer:
        config = self._config.gateway
        authority = await Authority.connect(
            self._servers.redis_url, process_id=f"observer-{who()}", config=config
        )
        stack.push_async_callback(authority.close)
        prices = PriceBook(config.prices_overlay)
        return Observer(config, authority, prices, ceiling_nano_usd_per_mtok=self._ceiling)


def _answers(response: LLMResult) -> Iterator[AIMessage]:
    """One message per prompt; several choices share their usage."""
    for choices in response.generations:
        messages = [choice.message for choice in choices if isinstance(choice, ChatGeneration)]
        answers = [message for message in messages if isinstance(message, AIMessage)]
        with_usage = (answer for answer in answers if answer.usage_metadata)
        if answers:
            yield next(with_usage, answers[0])


def _id_of(answer: AIMessage) -> str:
    """The provider's own id of the answer, or of its request; '' where LangChain did not keep it, as in
    streams without `include_response_headers`."""
    said = answer.response_metadata
    headers: Mapping[str, str] = said.get("headers") or {}
    own = (said.get("id"), answer.id, headers.get("x-request-id"), headers.get("request-id"))
    return next((str(id) for id in own if id and not str(id).startswith(_OWN_IDS)), "")


def _usage_of(answer: AIMessage) -> Usage | None:
    used = answer.usage_metadata
    if not used:
        return None
    ins, outs = used.get("input_token_details", {}), used.get("output_token_details", {})
    read, written = ins.get("cache_read") or 0, ins.get("cache_creation") or 0
    return Usage(
        input_tokens=max(used["input_tokens"] - read - written, 0),
        output_tokens=used["output_tokens"],
        cache_read_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=outs.get("reasoning") or 0,
    )


def _places(config: Config | None, servers: Servers | None) -> tuple[Config, Servers]:
    """What commands go by: the environment and curb.yaml, else a `curb dev` that runs here."""
    if config is not None and servers is not None:
        return config, servers
    known = house()
    if servers is None:
        known.places.need("redis_url", "database_url")
        servers = Servers(known.places.redis_url, known.places.database_url)
    return config or known.config, servers
