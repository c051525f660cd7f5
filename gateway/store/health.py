"""Probes of providers, and what is held of each."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from gateway.policy.health import Calls, Judgement, Probe, Standing, Status
from gateway.store import tables_health
from gateway.store.database import Database
from gateway.store.folding import to_json

TABLES = (tables_health.probes, tables_health.provider_health)
Target = tuple[str, str]
"""A provider, and a deployment of it or '' for the provider itself."""


@dataclass(frozen=True, slots=True)
class Probed:
    """One look at one target. kind: `models` or `call`."""

    provider: str
    deployment: str
    kind: str
    probe: Probe


@dataclass(frozen=True, slots=True)
class Health:
    """What is held of a provider, or of one deployment of it; the latency is its last probe's."""

    provider: str
    deployment: str
    status: Status
    reason: str
    since: datetime | None
    recovered_at: datetime | None
    relapses: int
    checked_at: datetime | None
    latency_ms: int

    @property
    def standing(self) -> Standing:
        return Standing(self.status, self.since, self.recovered_at, self.relapses)


class ProviderHealth:
    """The tables probes and provider_health."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, probed: Sequence[Probed]) -> None:
        """Write probes down; the first one of a target and slot stays."""
        rows = [
            {
                "provider": each.provider,
                "deployment": each.deployment,
                "kind": each.kind,
                "at": each.probe.at.isoformat(),
                "ok": each.probe.ok,
                "blame": each.probe.blame,
                "latency_ms": each.probe.latency_ms,
                "error": each.probe.error,
            }
            for each in probed
        ]
        await self._database.rows("insert_probes", rows=to_json(rows))

    async def probed(self, slot: datetime) -> set[Target]:
        """The targets that were looked at in this slot."""
        rows = await self._database.rows("probed_in_slot", at=slot)
        return {(row["provider"], row["deployment"]) for row in rows}

    async def recent(
        self, targets: Collection[Target], *, up_to: datetime, limit: int
    ) -> dict[Target, list[Probe]]:
        """The last probes of each target, up to a slot, newest first."""
        wanted = sorted(targets)
        rows = await self._database.rows(
            "recent_probes",
            providers=[provider for provider, _ in wanted],
            deployments=[deployment for _, deployment in wanted],
            at=up_to,
            limit=limit,
        )
        found: dict[Target, list[Probe]] = {target: [] for target in wanted}
        for row in rows:
            probe = Probe(row["at"], row["ok"], row["blame"], row["latency_ms"], row["error"])
            found[row["provider"], row["deployment"]].append(probe)
        return found

    async def outcomes(
        self, *, window_seconds: float, faults: Collection[str], answers: Collection[str], besides: str
    ) -> dict[str, Calls]:
        """What the attempts of each provider came to lately, since it last recovered.

        faults: error types that are the provider's. answers: those with which it only refused the
        request. Others (kills, lost leases) say nothing of a provider. besides: an agent to leave out.
        """
        rows = await self._database.rows(
            "call_outcomes",
            window=window_seconds,
            faults=sorted(faults),
            answers=sorted(answers),
            besides=besides,
        )
        return {row["provider"]: Calls(row["calls"], row["errors"]) for row in rows}

    async def latest(self) -> list[Health]:
        """Every provider (deployment '') and every deployment with probes of its own, as last judged."""
        return [Health(**row) for row in await self._database.rows("provider_health")]

    async def hold(self, target: Target, judged: Judgement, *, slot: datetime, latency_ms: int) -> bool:
        """Keep a judgement; False when this slot or a later one was judged already."""
        provider, deployment = target
        standing = judged.standing
        row = await self._database.row(
            "hold_health",
            provider=provider,
            deployment=deployment,
            status=standing.status,
            reason=judged.reason,
            since=standing.since,
            recovered_at=standing.recovered_at,
            relapses=standing.relapses,
            checked_at=slot,
            latency_ms=latency_ms,
        )
        return row is not None
