"""The admin API for tests: the real server on a port of its own, with a key for every role."""

import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import redis.asyncio as redis
from temporalio.client import Client

from gateway.agents import Agent
from gateway.keys import KeyRing
from gateway.state.authority import Authority
from gateway.store import Store
from gateway.store.keys import Key
from gateway.tokens import TokenSecrets, new_key_id
from tests.integration.runs import serving
from tests.integration.world import config
from tests.simulated import SimulatedProvider
from worker.api.app import build_api
from worker.api.office import Office
from worker.config import Config
from worker.keys import KeyDesk
from worker.listening import listening
from worker.wiring import Servers

MODELS = (
    "gpt-5-mini",
    "gpt-5-mini@say-400+slow-stream-400",
    "gpt-5-mini@steady-2",
    "gpt-5-mini@ask",
    "gpt-5-mini@spend-400-6",
)
TOOLS = str(Path(__file__).with_name("own_tools.py"))
AGENTS = (
    Agent(name="quickie", tier="openai/gpt-5-mini", tools=("list_files", "read_file")),
    Agent(name="slowpoke", tier="openai/gpt-5-mini@say-400+slow-stream-400"),
    Agent(
        name="poor",
        tier="openai/gpt-5-mini@spend-400-6",
        tools=("list_files", "read_file"),
        on_budget="pause",
    ),
)
SECRETS = TokenSecrets(("a secret of the admin tests; long enough",))
ROLES = ("call", "viewer", "operator", "admin")


def asking(root: Path) -> tuple[Agent, Agent]:
    """Agents that need people: `cashier` asks before it refunds, `shy` asks a question."""
    return (
        Agent(name="cashier", tier="openai/gpt-5-mini@steady-2", tools=("refund",), root=str(root)),
        Agent(name="shy", tier="openai/gpt-5-mini@ask", tools=("ask_human",)),
    )


@dataclass
class Admin:
    """The API at `url`. tokens: of a key with each role."""

    url: str
    tokens: Mapping[str, str]
    office: Office

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        role: str = "admin",
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Ask and check the status; the document that is answered."""
        answer = await self.raw(method, path, body, role=role, headers=headers)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    async def raw(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        role: str = "admin",
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """The same, as it comes. role '': without a key."""
        own = {"authorization": f"Bearer {self.tokens[role]}"} if role else {}
        content = None if body is None else json.dumps(body)
        kind = {"content-type": "application/json"} if content else {}
        async with httpx.AsyncClient(base_url=self.url, timeout=60) as client:
            return await client.request(
                method, path, content=content, headers={**own, **kind, **(headers or {})}
            )

    async def refused(
        self, method: str, path: str, body: object = None, *, status: int, role: str = "admin", **more: Any
    ) -> str:
        """Ask for what is refused; what is said."""
        document = await self.ask(method, path, body, role=role, status=status, **more)
        return str(document["error"]["message"])


@contextlib.asynccontextmanager
async def open_admin(
    store: Store,
    authority: Authority,
    config: Config,
    *,
    agents: Sequence[Agent] = (),
    temporal: Client | None = None,
    is_open: bool = False,
) -> AsyncIterator[Admin]:
    """Serve until the block ends."""
    desk = KeyDesk(store, authority, SECRETS, by="the-test")
    tokens = {}
    for role in ROLES:
        key_id = new_key_id()
        issued = await desk.create(Key(id=key_id, name=f"{role}-{key_id}", roles=(role,)))
        tokens[role] = issued.token.text
    ring = KeyRing(store.keys, SECRETS)
    office = Office(
        store=store,
        authority=authority,
        config=config,
        agents={agent.name: agent for agent in agents},
        keys=ring,
        secrets=SECRETS,
        temporal=temporal,
        workflow_url=lambda run: f"http://ui/{run}",
        is_open=is_open,
    )
    async with listening(build_api(office), "127.0.0.1", 0, grace_seconds=2) as url:
        yield Admin(url, tokens, office)
    await ring.close()


@contextlib.asynccontextmanager
async def open_house(
    temporal: Client, servers: Servers, simulator: SimulatedProvider, more: Sequence[Agent] = ()
) -> AsyncIterator[Admin]:
    """Empty Redis, then a worker that serves AGENTS and `more`, and the admin API beside it."""
    async with redis.from_url(servers.redis_url) as connection:
        await connection.flushdb()
    agents = (*AGENTS, *more)
    gateway = config(simulator.url, ("balanced", MODELS))
    given = Config(gateway=gateway, agents={agent.name: agent for agent in agents}, limits={})
    async with (
        serving(temporal, servers, gateway, agents, tools=[TOOLS] if more else ()) as factory,
        open_admin(factory.store, factory.authority, given, agents=agents, temporal=temporal) as opened,
    ):
        yield opened
