"""Reconciliation of the books with what providers report, and with the counters: once per hour."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from pydantic import BaseModel, ConfigDict
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.dependencies import Dependencies
from activities.heartbeats import heartbeating
from activities.supervision import Supervision
from gateway.aggregated.follow import SumReport, bucket_sources, follow_sums
from gateway.policy.scopes import Period, Window
from gateway.reconcile import Difference, Report, resolve
from gateway.store.reconciliations import Reconciliation
from gateway.usage import UsageUnavailable, invoice_source

log = structlog.get_logger(__name__)

_SHOWN = 5
_SCOPE = "ledger"


class Reconciled(BaseModel):
    """What an hour's reconciliation came to, in small numbers. Amounts in nano-dollars.

    done_before: the hour had been reconciled already; this is what was found then.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    hour: str
    ledger_nano_usd: int = 0
    invoice_nano_usd: int | None = None
    in_doubt_nano_usd: int = 0
    unattributed_nano_usd: int = 0
    settled: int = 0
    adjusted: int = 0
    adopted: int = 0
    left_open: int = 0
    differences: int = 0
    followed: tuple[str, ...] = ()
    unavailable: tuple[str, ...] = ()
    done_before: bool = False


class ReconcileActivities:
    """Over gateway.reconcile and gateway.aggregated."""

    def __init__(self, dependencies: Dependencies, supervision: Supervision) -> None:
        self._authority = dependencies.authority
        self._store = dependencies.store
        self._config = dependencies.gateway.config
        self._calendar = dependencies.gateway.calendar
        self._rules = supervision.reconcile

    @activity.defn
    async def reconcile_hour(self, hour: datetime) -> Reconciled:
        """Resolve, compare, tell, and keep what was found under the hour; an hour that is kept is done."""
        kept = await self._store.reconciliations.get(hour)
        if kept is not None:
            return _reconciled(kept, done_before=True)
        async with heartbeating(), self._store.reconciliations.alone() as alone:
            if not alone:
                raise ApplicationError("somebody else reconciles", type="Busy")
            return await self._reconcile(hour)

    async def _reconcile(self, hour: datetime) -> Reconciled:
        sums = await self._follow_sums()
        report, unavailable = await self._resolve()
        unavailable |= sums.unavailable
        before = await self._store.reconciliations.latest(before=hour)
        await self._tell_counters(hour, report, before)
        await self._tell_invoice(report)
        await self._tell_unavailable(hour, unavailable, before)
        found = _found(hour, sums, report, unavailable)
        await self._store.reconciliations.keep(found)
        log.info("reconciled", hour=hour.isoformat(), settled=found.settled, differences=found.differences)
        return _reconciled(found)

    async def _follow_sums(self) -> SumReport:
        sources, unavailable = bucket_sources(self._config)
        now = datetime.now(UTC)
        report = await follow_sums(self._authority, self._store, sources, self._config, self._rules, now=now)
        report.unavailable |= unavailable
        return report

    async def _resolve(self) -> tuple[Report, dict[str, str]]:
        """With the invoice, where there is one that can be read."""
        usage, patience = invoice_source(self._config), self._config.doubt_settles_after_seconds
        windows = self._windows()
        try:
            report = await resolve(
                self._authority, self._store, usage, estimate_after_seconds=patience, windows=windows
            )
        except UsageUnavailable as error:
            # What the silent invoice covers must not be settled at an estimate only because it is silent.
            never = float("inf")
            report = await resolve(
                self._authority, self._store, estimate_after_seconds=never, windows=windows
            )
            return report, {"invoice": str(error)}
        return report, {}

    def _windows(self) -> list[tuple[Period, Window]]:
        """Yesterday and today: older days were compared when they were closed, months when they are.

        So an hour's work does not grow with the ledger; `curb ledger verify` compares everything.
        """
        yesterday, today, _ = self._calendar.windows(Period.DAY, time.time_ns() // 1_000_000)
        return [(Period.DAY, yesterday), (Period.DAY, today)]

    async def _tell_counters(self, hour: datetime, report: Report, before: Sequence[Reconciliation]) -> None:
        found = _of(report, "counter")
        if found:
            evidence = {"counters": len(found), "differing": [each.subject for each in found[:_SHOWN]]}
            amount = sum(abs(each.ledger_nano_usd - each.other_nano_usd) for each in found)
            evidence |= {"difference_nano_usd": amount}
            await self._alert("counters_differ", evidence, f"counters_differ:{hour.isoformat()}")
        elif before and before[0].differences:
            key = f"counters_differ:{hour.isoformat()}:over"
            await self._alert("counters_differ", {"counters": report.counters}, key, over=True)

    async def _tell_invoice(self, report: Report) -> None:
        """What is booked beyond the invoice, all of it as one; told again when it changes."""
        found = _of(report, "not_invoiced", "amount")
        if not found:
            return
        ledger = sum(each.ledger_nano_usd for each in found)
        invoice = sum(each.other_nano_usd for each in found)
        evidence = {"attempts": len(found), "ledger_nano_usd": ledger, "invoice_nano_usd": invoice}
        await self._alert("invoice_differs", evidence, f"invoice_differs:{len(found)}:{ledger}:{invoice}")

    async def _tell_unavailable(
        self, hour: datetime, unavailable: dict[str, str], before: Sequence[Reconciliation]
    ) -> None:
        """Once a day for each provider; its end when it can be read again."""
        was = set(before[0].detail.get("unavailable", {})) if before else set()
        for name, why in unavailable.items():
            key = f"reconcile:{name}:{hour.date().isoformat()}"
            await self._alert(
                "supervision_failed", {"work": "reconcile", "reason": why}, key, scope=f"reconcile:{name}"
            )
        for name in was - set(unavailable):
            key = f"reconcile:{name}:{hour.isoformat()}:over"
            await self._alert("supervision_failed", {}, key, scope=f"reconcile:{name}", over=True)

    async def _alert(
        self, rule: str, evidence: dict[str, Any], key: str, *, scope: str = _SCOPE, over: bool = False
    ) -> None:
        state = "resolved" if over else "firing"
        await self._store.events.alert(rule, scope, evidence, key=key, state=state)  # type: ignore[arg-type]


def whole_hour(at: datetime) -> datetime:
    """The hour that an instant lies in: the key of its work."""
    return at - timedelta(minutes=at.minute, seconds=at.second, microseconds=at.microsecond)


def _of(report: Report, *what: str) -> list[Difference]:
    return [each for each in report.differences if each.what in what]


def _found(hour: datetime, sums: SumReport, report: Report, unavailable: dict[str, str]) -> Reconciliation:
    return Reconciliation(
        hour=hour,
        ledger_nano_usd=report.ledger_nano_usd,
        invoice_nano_usd=report.invoice_nano_usd,
        in_doubt_nano_usd=report.in_doubt_nano_usd,
        pending_nano_usd=report.pending_nano_usd,
        unattributed_nano_usd=sums.unattributed_nano_usd,
        settled=report.settled + sums.settled,
        adjusted=report.adjusted + sums.adjusted,
        adopted=report.adopted,
        left_open=report.left_open,
        counters=report.counters,
        differences=len(_of(report, "counter")),
        detail={
            "followed": sums.followed,
            "undecided": dict(sums.undecided),
            "unavailable": unavailable,
            "undrained": report.undrained,
            "dead_events": report.dead_events,
        },
    )


def _reconciled(found: Reconciliation, *, done_before: bool = False) -> Reconciled:
    same = {name: getattr(found, name) for name in Reconciled.model_fields if hasattr(found, name)}
    return Reconciled.model_validate(
        same
        | {
            "hour": found.hour.isoformat(),
            "followed": tuple(found.detail.get("followed", ())),
            "unavailable": tuple(sorted(found.detail.get("unavailable", {}))),
            "done_before": done_before,
        }
    )
