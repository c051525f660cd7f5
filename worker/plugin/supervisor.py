"""The part of curb inside a framework's worker: its gateway, and the record of the runs that buy there."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from activities.snapshot import RunSnapshot, Snapshots
from gateway.agents import Agent
from gateway.errors import ConfigurationError, NotFound
from gateway.http.endpoint import Door
from gateway.http.models import Models
from gateway.http.wires import ANTHROPIC, EMBEDDINGS, OPENAI, RESPONSES
from gateway.keys import Principal, Unauthorized
from gateway.policy.money import MoneyError, NanoUsd, usd
from gateway.policy.refusals import Refusal, RefusalKind
from gateway.store.runs import Run
from worker.config import Config
from worker.plugin.asking import Asking, Problem, StepsUsedUp
from worker.plugin.endpoint import RunEndpoint
from worker.plugin.exchange import Exchange
from worker.upkeep import switch_names, upkeep
from worker.wiring import Parts, Servers, open_parts

_NOTE_CHARACTERS = 500
_STEP = "model_call"
_WIRES = (OPENAI, RESPONSES, EMBEDDINGS, ANTHROPIC)


class _NoKeys:
    """Nobody comes through the wall: activities are known by their context."""

    async def authenticate(self, token: str, address: str = "") -> Principal:
        raise Unauthorized("missing")


@dataclass
class Supervisor:
    """One per process. parts: what buys. agents: of curb.yaml and of the plugin's caller, by name."""

    parts: Parts
    agents: Mapping[str, Agent]
    loop: asyncio.AbstractEventLoop
    _endpoints: dict[str, ASGIApp] = field(default_factory=dict)

    def __post_init__(self) -> None:
        gateway = self.parts.gateway
        door = Door(gateway, _NoKeys(), Models(gateway.config), self.agents)
        self._endpoints = {wire.path: RunEndpoint(door, wire) for wire in _WIRES}
        self._snapshots = Snapshots(self.parts.store)

    def exchange(self, asking: Asking, path: str, headers: Mapping[str, str], body: bytes) -> Exchange:
        """A request to whatever host, asked of curb."""
        for known, endpoint in self._endpoints.items():
            if path.endswith(known.removeprefix("/v1")):
                return Exchange(endpoint, asking, known, headers, body)
        asking.problem = Problem("invalid", f"{path}: curb sells {' and '.join(self._endpoints)} here")
        return Exchange(_nothing_here, asking, path, headers, body)

    async def snapshot(self, asking: Asking) -> RunSnapshot:
        """The run on record, as it began. Raises ConfigurationError, StoreUnavailable."""
        run_id = asking.info.workflow_id or ""
        try:
            return await self._snapshots.get(run_id)
        except NotFound:
            snapshot = await self._open(run_id, asking)
        self._snapshots.remember(snapshot)
        return snapshot

    async def _open(self, run_id: str, asking: Asking) -> RunSnapshot:
        launch = asking.launch
        agent = self.agents.get(launch.agent) or Agent(name=launch.agent)
        new = RunSnapshot(
            run_id=run_id,
            agent=agent,
            conversation_id=f"c-{uuid.uuid5(uuid.NAMESPACE_OID, run_id)}",
            mode="live",
            framework=True,
            budget_nano_usd=_dollars("budget_usd", launch.budget_usd) or agent.run_budget_nano_usd,
            max_steps=launch.max_steps or agent.limits.max_steps,
            max_tool_calls=agent.limits.max_tool_calls,
            team=launch.team or agent.team,
            user=launch.user,
            session=launch.session,
            tags=launch.tags,
            ancestors=launch.ancestors,
            ancestor_budgets_nano_usd={
                id: amount for id, each in launch.budgets.items() if (amount := _dollars("budgets", each))
            },
        )
        await self.parts.store.conversations.create(run_id, agent.name, id=new.conversation_id)
        stored = await self.parts.store.runs.open(
            Run(
                run_id,
                agent.name,
                new.conversation_id,
                temporal_run_id=asking.info.workflow_run_id or "",
                spec=new.model_dump(mode="json"),
                budget_nano_usd=new.budget_nano_usd,
                team=new.team,
                user=new.user,
                session=new.session,
                tags=new.tags,
                parent=new.ancestors[0] if new.ancestors else "",
            )
        )
        return RunSnapshot.model_validate(stored.spec)

    async def step(self, asking: Asking, snapshot: RunSnapshot, key: str) -> int:
        """The number of a call in its run, from 1, the same whenever it is asked. Raises StepsUsedUp."""
        runs = self.parts.store.runs
        chain = asking.launch.chain
        await runs.record(snapshot.run_id, _STEP, f"step:{key}", {"chain": chain})
        taken = [e.key for e in await runs.events(snapshot.run_id, _STEP) if e.body.get("chain") == chain]
        number = taken.index(f"step:{key}") + 1
        if number > snapshot.max_steps:
            raise StepsUsedUp(f"max_steps: {snapshot.max_steps} steps are used up")
        return number

    async def note_waiting(self, snapshot: RunSnapshot, step: int, refusal: Refusal) -> None:
        """Lists show what the run waits for; an agent that asks people does so once."""
        said = str(refusal)[:_NOTE_CHARACTERS]
        await self.parts.store.runs.update(snapshot.run_id, status="paused", waiting_for=said, steps=step)
        own = refusal.kind is RefusalKind.EXHAUSTED and refusal.period == "run"
        if own and snapshot.agent.on_budget == "ask":
            await self._escalate(snapshot, step, said)

    async def _escalate(self, snapshot: RunSnapshot, step: int, said: str) -> None:
        body = {"kind": "budget", "detail": said, "call": None}
        runs = self.parts.store.runs
        if await runs.record(snapshot.run_id, "escalation_budget", f"budget:{step}", body):
            self.parts.metrics.escalated(snapshot.agent.name)
            evidence = {"kind": "budget", "agent": snapshot.agent.name}
            await self.parts.authority.alert("human_escalation", f"run:{snapshot.run_id}", evidence)

    async def note_answer(self, snapshot: RunSnapshot, step: int) -> None:
        """The run goes on."""
        with contextlib.suppress(NotFound):
            await self.parts.store.runs.update(snapshot.run_id, status="running", waiting_for="", steps=step)


@contextlib.asynccontextmanager
async def open_supervisor(
    config: Config, servers: Servers, agents: Mapping[str, Agent]
) -> AsyncIterator[Supervisor]:
    """Connect, and keep up while the block runs. Raises StateUnavailable, StoreUnavailable."""
    known = {**config.agents, **agents}
    async with open_parts(config.gateway, servers) as parts, upkeep(parts, switch_names(config, known)):
        yield Supervisor(parts, known, asyncio.get_running_loop())


def _dollars(name: str, written: str) -> NanoUsd | None:
    if not written:
        return None
    try:
        return usd(written)
    except MoneyError as error:
        raise ConfigurationError(f"{name}: {error}") from error


async def _nothing_here(scope: Scope, receive: Receive, send: Send) -> None:
    asking: Asking = scope["curb.asking"]
    said = asking.problem.text if isinstance(asking.problem, Problem) else ""
    error = {"message": said, "type": "invalid_request_error", "param": None, "code": "not_found"}
    answer = JSONResponse({"error": error}, 404, headers={"x-should-retry": "false"})
    await answer(scope, receive, send)
