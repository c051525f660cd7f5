"""The run's snapshot: the configuration it works on from its first activity to its end (I11).

It lives in Postgres beside the run; activities find it by run id and keep it, since it never
changes. What may change (limits, top-ups, switches) is asked of the authority on every call.
"""

from collections import OrderedDict
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.agents import Agent
from gateway.calls import Caller, ToolSpec
from gateway.store import Store

_KEPT = 5_000


class RunSnapshot(BaseModel):
    """Everything that activities need to know about a run. Money in nano-dollars.

    framework: the workflow is of another agent framework, and knows none of curb's updates.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_id: str
    workflow_id: str = ""  # of the workflow that makes the calls, where it is not the run id
    agent: Agent
    conversation_id: str
    mode: Literal["live", "shadow"]
    budget_nano_usd: int | None
    max_steps: int
    max_tool_calls: int
    tools: tuple[ToolSpec, ...] = ()
    delegates: dict[str, str] = Field(default_factory=dict)  # tool name -> agent
    team: str = ""
    user: str = ""
    session: str = ""
    application: str = ""
    tags: dict[str, str] = Field(default_factory=dict)
    ancestors: tuple[str, ...] = ()
    ancestor_budgets_nano_usd: dict[str, int] = Field(default_factory=dict)
    framework: bool = False
    trace_id: str = ""  # of whoever launched it, where he has one
    parent_span_id: str = ""

    def caller(self, step: int) -> Caller:
        """Who pays for a step of this run."""
        return Caller(
            agent=self.agent.name,
            run_id=self.run_id,
            ancestors=self.ancestors,
            step=step,
            team=self.team,
            user=self.user,
            session=self.session,
            endpoint="run",
            application=self.application,
            feature=self.agent.feature,
            tags=self.tags,
            trace_id=self.trace_id,
            prompt_version=self.agent.prompt_version,
            mode=self.mode,
        )


class Snapshots:
    """Finds snapshots by run id; keeps the most recently used in memory."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: OrderedDict[str, RunSnapshot] = OrderedDict()

    async def get(self, run_id: str) -> RunSnapshot:
        """Return the run's snapshot; raises NotFound for a run that was never opened."""
        snapshot = self._known.get(run_id)
        if snapshot is None:
            record = await self._store.runs.get(run_id)
            snapshot = RunSnapshot.model_validate(record.spec)
        self.remember(snapshot)
        return snapshot

    def remember(self, snapshot: RunSnapshot) -> None:
        """Keep a snapshot, forgetting the one used longest ago when there are many."""
        self._known[snapshot.run_id] = snapshot
        self._known.move_to_end(snapshot.run_id)
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)
