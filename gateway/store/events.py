"""Alerts, switch changes and the audit log: what happened around the money."""

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from gateway.store.database import Database

EventState = Literal["firing", "resolved"]


@dataclass(frozen=True, slots=True)
class Alert:
    """A rule that was broken (or, when resolved, is kept again), with the numbers that say so.

    severity: '' is the rule's own (gateway.policy.alerts).
    """

    key: str
    rule: str
    scope: str
    evidence: dict[str, Any]
    at: datetime
    state: EventState = "firing"
    severity: str = ""


@dataclass(frozen=True, slots=True)
class SwitchChange:
    """One change of a switch; '' is not set."""

    name: str
    old: str
    new: str
    expires_at: datetime | None
    at: datetime


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what to what."""

    actor: str
    action: str
    target: str
    detail: dict[str, Any]
    at: datetime


class Events:
    """Alerts, switch history, audit."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def alert(
        self,
        rule: str,
        scope: str,
        evidence: Mapping[str, Any],
        *,
        key: str = "",
        state: EventState = "firing",
        severity: Literal["", "info", "warning", "critical"] = "",
    ) -> bool:
        """Write an alert straight down (those of the authority come through the outbox).

        key: alerts with the same key are one; by default each is its own. state: `resolved` ends what
        the same rule and scope had raised. severity: '' is the rule's own. True when it was new.
        """
        text = json.dumps(dict(evidence), sort_keys=True, default=str)
        name = (
            key
            or hashlib.blake2b(f"{rule}{scope}{text}{time.time_ns()}".encode(), digest_size=12).hexdigest()
        )
        row = await self._database.row(
            "insert_alert",
            key=name,
            rule=rule,
            scope=scope,
            evidence=text,
            state=state,
            severity=severity,
        )
        return row is not None

    async def alerts(
        self, *, since: datetime | None = None, rule: str | None = None, limit: int = 100
    ) -> list[Alert]:
        """Alerts, newest first."""
        rows = await self._database.rows("alerts", since=since, rule=rule, limit=limit)
        return [Alert(**row) for row in rows]

    async def switch_changes(self, name: str | None = None, *, limit: int = 100) -> list[SwitchChange]:
        """Changes of one switch or of all, newest first."""
        rows = await self._database.rows("switch_changes", name=name, limit=limit)
        return [SwitchChange(**row) for row in rows]

    async def audit(
        self, actor: str, action: str, target: str = "", detail: Mapping[str, Any] | None = None
    ) -> None:
        """Append to the audit log."""
        text = json.dumps(dict(detail or {}), default=str)
        await self._database.rows("insert_audit", actor=actor, action=action, target=target, detail=text)

    async def audit_log(self, *, limit: int = 100) -> list[AuditEntry]:
        """The audit log, newest first."""
        return [AuditEntry(**row) for row in await self._database.rows("audit_log", limit=limit)]
