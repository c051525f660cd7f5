"""Runs as the outside sees them: one row each, kept up to date by the run's activities."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select

from gateway.errors import NotFound
from gateway.store.database import Database
from gateway.store.tables import runs

ENDED = ("completed", "failed", "killed", "stopped", "expired")
_WAITS_FOR = re.compile(r"(switched|exhausted): (\S+?)(?:: | per | has |$)")
_FILTERS = ("agent", "status", "team", "user_id", "session", "mode", "parent")


@dataclass(frozen=True, slots=True)
class Run:
    """One run. Amounts in nano-dollars; `spec` is the agent as the run snapshot it (I11).

    status: running, paused (see waiting_for) or one of ENDED. answer_item: the number of the final
    answer in the conversation, None while there is none.
    """

    id: str
    agent: str
    conversation_id: str = ""
    temporal_run_id: str = ""
    status: str = "running"
    reason: str = ""
    waiting_for: str = ""
    spec: dict[str, Any] = field(default_factory=dict)
    budget_nano_usd: int | None = None
    team: str = ""
    user: str = ""
    session: str = ""
    mode: str = "live"
    tags: dict[str, str] = field(default_factory=dict)
    parent: str = ""
    steps: int = 0
    cost_nano_usd: int = 0
    answer_item: int | None = None
    started_at: datetime | None = None
    updated_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RunEvent:
    """Something to remember about a run: an escalation, an approval, a shadow action."""

    run_id: str
    kind: str
    key: str
    body: dict[str, Any]
    at: datetime


@dataclass(frozen=True, slots=True)
class WatchedRun:
    """A live run that waits for something, or that a switch of its agent ends."""

    id: str
    agent: str
    waiting_for: str
    stops_on_switch: bool

    def waits_for(self, kind: str) -> str:
        """The scope that the run waits for, '' when it waits for nothing of this kind of refusal."""
        found = _WAITS_FOR.match(self.waiting_for)
        return found[2] if found is not None and found[1] == kind else ""


class Runs:
    """The table of runs and what happened in them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open(self, run: Run) -> Run:
        """Write a new run down and return it as stored; one that is there already is left alone.

        Only `temporal_run_id` follows the newest: a run that continues as new changes it.
        """
        values = {name: getattr(run, name) for name in _OPENED} | {
            "user_id": run.user,
            "spec": json.dumps(run.spec),
            "tags": json.dumps(run.tags),
        }
        [row] = await self._database.rows("open_run", **values)
        return _run(row)

    async def update(
        self,
        run_id: str,
        *,
        status: str | None = None,
        reason: str | None = None,
        waiting_for: str | None = None,
        steps: int | None = None,
        cost_nano_usd: int | None = None,
        answer_item: int | None = None,
        budget_nano_usd: int | None = None,
    ) -> Run:
        """Change what is given; steps and cost only grow, and a run that has ended stays ended.

        Raises NotFound when there is no such run.
        """
        row = await self._database.row(
            "update_run",
            id=run_id,
            status=status,
            reason=reason,
            waiting_for=waiting_for,
            steps=steps,
            cost=cost_nano_usd,
            answer_item=answer_item,
            budget=budget_nano_usd,
            ended=list(ENDED),
        )
        return _run(row) if row else await self.get(run_id)

    async def get(self, run_id: str) -> Run:
        """One run; raises NotFound."""
        row = await self._database.row("get_run", id=run_id)
        if row is None:
            raise NotFound(f"there is no run {run_id}")
        return _run(row)

    async def list(
        self,
        *,
        live: bool | None = None,
        since: datetime | None = None,
        before: datetime | None = None,
        limit: int = 100,
        **equal: str,
    ) -> list[Run]:
        """Runs, newest first. `equal`: agent, status, team, user, session, mode or parent.

        before: only those started earlier, for the next page. live: ended or not.
        """
        query = select(runs).order_by(runs.c.started_at.desc(), runs.c.id).limit(limit)
        for name, value in equal.items():
            column = "user_id" if name == "user" else name
            if column not in _FILTERS:
                raise ValueError(f"runs cannot be chosen by {name}")
            query = query.where(runs.c[column] == value)
        if live is not None:
            query = query.where(runs.c.ended_at.is_(None) if live else runs.c.ended_at.is_not(None))
        if since is not None:
            query = query.where(runs.c.started_at >= since)
        if before is not None:
            query = query.where(runs.c.started_at < before)
        return [_run(row) for row in await self._database.query(query)]

    async def watched(self, *, limit: int = 5_000) -> Sequence[WatchedRun]:
        """Live runs that wait, or that a switch ends; those that changed longest ago first."""
        rows = await self._database.rows("watched_runs", limit=limit)
        return [WatchedRun(**row) for row in rows]

    async def oldest(self, *, idle_seconds: float, limit: int = 50) -> Sequence[tuple[str, int]]:
        """Live runs that nobody has changed or looked at for that long: (id, steps). Looking touches them."""
        rows = await self._database.rows("look_at_oldest_runs", idle=idle_seconds, limit=limit)
        return [(row["id"], row["steps"]) for row in rows]

    async def record(self, run_id: str, kind: str, key: str, body: Mapping[str, Any]) -> bool:
        """Remember an event of a run, once per (run, key); True when it was new."""
        row = await self._database.row(
            "record_run_event", run_id=run_id, kind=kind, key=key, body=json.dumps(dict(body))
        )
        return row is not None

    async def rate(self, run_id: str, name: str, by: str, value: float | str, comment: str = "") -> None:
        """Note what somebody says of a run, instead of what he said under this name before.

        Raises NotFound.
        """
        body = json.dumps({"name": name, "by": by, "value": value, "comment": comment})
        if await self._database.row("rate_run", run_id=run_id, key=f"rating:{name}:{by}", body=body) is None:
            raise NotFound(f"there is no run {run_id}")

    async def events(self, run_id: str, kind: str | None = None) -> Sequence[RunEvent]:
        """What was recorded about a run, oldest first."""
        rows = await self._database.rows("run_events", run_id=run_id, kind=kind)
        return [RunEvent(r["run_id"], r["kind"], r["key"], r["body"], r["at"]) for r in rows]


_OPENED = (
    "id", "temporal_run_id", "agent", "status", "conversation_id", "budget_nano_usd", "team", "session",
    "mode", "parent",
)  # fmt: skip


def _run(row: Mapping[str, Any]) -> Run:
    values = dict(row)
    values["user"] = values.pop("user_id")
    return Run(**values)
