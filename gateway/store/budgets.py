"""Budgets at home: limits in versions, rules as records, top-ups. Redis has copies to decide by."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from gateway.errors import Conflict, NotFound
from gateway.policy.scopes import Period, Scope
from gateway.store.database import Connection, Database, run

Limits = dict[tuple[str, Period], int]


@dataclass(frozen=True, slots=True)
class Rule:
    """One budget: a limit in nano-dollars on a scope (`agent:coder`, `agent:*`, `global`) per period.

    origin: `policy` rules are replaced by the next policy applied, `api` rules stay until deleted.
    """

    name: str
    scope: str
    period: Period
    limit_nano_usd: int
    alert_threshold: float = 0.8
    auto_switch_enabled: bool = False
    fallback_model: str = ""
    origin: str = "api"
    version: int = 0
    created_at: datetime | None = None
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """One state of the budgets and who made it; source is the YAML text, '' for a single rule."""

    version: int
    source: str
    applied_by: str
    applied_at: datetime


class Budgets:
    """Limits and top-ups. Every change makes a new version, so that all processes agree on the newest."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def apply_policy(
        self,
        limits: Mapping[tuple[str, Period], int],
        *,
        source: str,
        applied_by: str,
        rules: Sequence[Rule] = (),
    ) -> int:
        """Replace the rules of the policy by these and return the version they have now.

        limits: plain limits; rules: those with thresholds of their own, which win over `limits`.
        A policy that changes nothing keeps its version. A rule of the API on the same scope and
        period gives way to the policy's.
        """
        wanted = {key: _plain_rule(*key, limit) for key, limit in limits.items()}
        wanted |= {(rule.scope, rule.period): rule for rule in rules}

        async def apply(connection: Connection) -> int:
            await run(connection, "lock_budgets")
            [now] = await run(connection, "policy_now")
            rows = await run(connection, "budget_rules")
            same = {
                (row["scope"], Period(row["period"])): _rule(row) for row in rows if row["origin"] == "policy"
            }
            if now["version"] and now["source"] == source and _said(same) == _said(wanted):
                return int(now["version"])
            version = int(now["version"]) + 1
            await run(connection, "add_policy_version", version=version, source=source, by=applied_by)
            await run(connection, "delete_policy_rules", keep=[_name(rule) for rule in wanted.values()])
            for rule in wanted.values():
                await _put(connection, rule, version, "policy")
            return version

        return await self._database.transact(apply)

    async def put_rule(self, rule: Rule, *, by: str) -> int:
        """Create or change one rule and return the new version."""

        async def put(connection: Connection) -> int:
            version = await _next_version(connection, by)
            await _put(connection, rule, version, rule.origin)
            return version

        return await self._database.transact(put)

    async def create_rule(self, rule: Rule, *, by: str) -> Rule:
        """Add a rule and return it as it stands. Raises Conflict when its name, or its scope and period, are
        taken."""

        async def create(connection: Connection) -> Rule:
            version = await _next_version(connection, by)
            for other in [_rule(row) for row in await run(connection, "budget_rules")]:
                if other.name == _name(rule):
                    raise Conflict(f"there is a rule {other.name} already; change it instead")
                if (other.scope, other.period) == (rule.scope, rule.period):
                    raise Conflict(
                        f"the rule {other.name} is about {rule.scope} per {rule.period} already; "
                        "change it instead"
                    )
            await _put(connection, rule, version, rule.origin)
            return await _one(connection, _name(rule))

        return await self._database.transact(create)

    async def change_rule(self, rule: Rule, *, by: str) -> Rule:
        """Replace the rule of this name, if it still has `rule.version`, and return it as it stands.

        Scope and period stay. Raises NotFound, and Conflict for one that has changed meanwhile or is of
        the policy.
        """

        async def change(connection: Connection) -> Rule:
            version = await _next_version(connection, by)
            before = await _changeable(connection, rule.name, rule.version)
            kept = replace(rule, scope=before.scope, period=before.period)
            await _put(connection, kept, version, "api")
            return await _one(connection, rule.name)

        return await self._database.transact(change)

    async def remove_rule(self, name: str, version: int, *, by: str) -> None:
        """Delete the rule of this name, if it still has this version. Raises NotFound, Conflict."""

        async def remove(connection: Connection) -> None:
            await _next_version(connection, by)
            await _changeable(connection, name, version)
            await run(connection, "delete_rule", name=name)

        await self._database.transact(remove)

    async def rule(self, name: str) -> Rule:
        """One rule. Raises NotFound."""

        async def read(connection: Connection) -> Rule:
            return await _one(connection, name)

        return await self._database.snapshot(read)

    async def delete_rule(self, name: str, *, by: str) -> int | None:
        """Delete a rule and return the new version; None when there was none of that name."""

        async def delete(connection: Connection) -> int | None:
            if not await run(connection, "delete_rule", name=name):
                return None
            return await _next_version(connection, by)

        return await self._database.transact(delete)

    async def rules(self) -> list[Rule]:
        """Every rule, by name."""
        return [_rule(row) for row in await self._database.rows("budget_rules")]

    async def current_limits(self) -> tuple[int, Limits]:
        """The version and the limits that hold now, in nano-dollars; (0, {}) before the first."""

        async def read(connection: Connection) -> tuple[int, Limits]:
            return await read_limits(connection)

        return await self._database.snapshot(read)

    async def history(self, limit: int = 20) -> list[PolicyVersion]:
        """Versions, newest first."""
        return [PolicyVersion(**row) for row in await self._database.rows("policy_history", limit=limit)]

    async def top_up(self, top_up_id: str, counter: str, amount_nano_usd: int, *, by: str) -> bool:
        """Remember a top-up; True when it was new. (Those of the authority come through the outbox.)"""
        row = await self._database.row(
            "insert_top_up", id=top_up_id, counter=counter, amount=amount_nano_usd, by=by
        )
        return row is not None

    async def top_ups(self, counters: Sequence[str] | None = None) -> dict[str, int]:
        """The sum of the top-ups of each counter, in nano-dollars."""
        rows = await self._database.rows("top_up_sums", counters=None if counters is None else list(counters))
        return {row["counter"]: row["amount"] for row in rows}


async def read_limits(connection: Connection) -> tuple[int, Limits]:
    """The version and limits, inside of somebody's transaction."""
    [now] = await run(connection, "policy_now")
    rows = await run(connection, "budget_rules")
    return int(now["version"]), {(row["scope"], Period(row["period"])): row["limit_nano_usd"] for row in rows}


async def _one(connection: Connection, name: str) -> Rule:
    for row in await run(connection, "budget_rules"):
        if row["name"] == name:
            return _rule(row)
    raise NotFound(f"there is no budget rule {name}")


async def _changeable(connection: Connection, name: str, version: int) -> Rule:
    """The rule, if it still has this version and is not the policy's."""
    rule = await _one(connection, name)
    if rule.origin == "policy":
        raise Conflict(f"{name} comes from curb.yaml: change it there, and `curb policy apply` it")
    if rule.version != version:
        raise Conflict(f"{name} has changed since: it has version {rule.version} by now, not {version}")
    return rule


async def _next_version(connection: Connection, by: str) -> int:
    await run(connection, "lock_budgets")
    [now] = await run(connection, "policy_now")
    version = int(now["version"]) + 1
    await run(connection, "add_policy_version", version=version, source=now["source"], by=by)
    return version


async def _put(connection: Connection, rule: Rule, version: int, origin: str) -> None:
    place = {"name": _name(rule), "scope": rule.scope, "period": rule.period.value}
    await run(connection, "displace_rule", **place)
    await run(
        connection,
        "put_rule",
        **place,
        limit=rule.limit_nano_usd,
        threshold=rule.alert_threshold,
        auto_switch=rule.auto_switch_enabled,
        fallback=rule.fallback_model,
        origin=origin,
        version=version,
    )


def _plain_rule(scope: str, period: Period, limit_nano_usd: int) -> Rule:
    if not scope.endswith(":*"):
        Scope.parse(scope)
    return Rule("", scope, period, limit_nano_usd, origin="policy")


def _name(rule: Rule) -> str:
    return rule.name or f"{rule.scope}/{rule.period.value}"


def _said(rules: Mapping[tuple[str, Period], Rule]) -> str:
    """A digest of everything that the rules say, for comparing two sets of them."""
    lines = sorted(
        f"{_name(r)}|{r.scope}|{r.period}|{r.limit_nano_usd}|{r.alert_threshold}|{r.auto_switch_enabled}|{r.fallback_model}"
        for r in rules.values()
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _rule(row: Mapping[str, Any]) -> Rule:
    return Rule(**{**row, "period": Period(row["period"])})
