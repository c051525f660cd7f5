"""The anomaly sweep: once a minute, what is strange; each finding told once, and acted on once.

Everything is asked as of the given minute, and told under keys that name it: the same minute swept
again, by a retry, a trigger or a backfill, tells nothing twice. A switch is set once in an episode (whoever
lifts it has decided), only where none is set, and never for a minute that is long over.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from gateway.errors import StateUnavailable
from gateway.policy.anomaly import Finding
from gateway.policy.cost_thresholds import over_thresholds
from gateway.policy.episodes import Episode, Found, Plan, plan
from gateway.policy.periods import Calendar
from gateway.policy.sweep_moment import Moment, moment
from gateway.policy.sweep_rules import SweepRules, SwitchWish, switch_wish
from gateway.state.authority import Authority
from gateway.store import Store
from gateway.store.anomalies import episode_key

LATE = timedelta(minutes=2)
TOO_LATE_TO_ACT = timedelta(minutes=5)
_HOURS_PER_SWEEP = 48  # a long backlog of stale hours is worked off over several sweeps, the newest first
_CALLS_END = timedelta(minutes=3)
_LAST_INSTANT = timedelta(seconds=1)
_READABLE = 200
_NEVER = 2**62

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Swept:
    """What one sweep came to: how many findings held, how many were told, and how many episodes ended."""

    found: int
    told: int
    over: int


class Sweep:
    """calendar: of the accounting days; it is asked about the past, so one of its own."""

    def __init__(self, authority: Authority, store: Store, calendar: Calendar, rules: SweepRules) -> None:
        self._authority = authority
        self._store = store
        self._calendar = calendar
        self._rules = rules

    async def sweep(self, at: datetime, clock: datetime) -> Swept:
        """Look at the minute that `at` lies in. clock: the time now, which says how late that is.

        Raises StoreUnavailable; may be done again at any time.
        """
        now = at.replace(second=0, microsecond=0)
        await self._store.usage.refresh(limit=_HOURS_PER_SWEEP)
        looked = moment(self._calendar, now, days=self._days(), late=clock - now > LATE)
        findings = await self.find(looked)
        todo = plan(
            findings,
            await self._store.anomalies.episodes(),
            now,
            remind_seconds=self._rules.remind_seconds,
            rest_seconds=self._rules.rest_seconds,
        )
        await self._tell(todo, looked, may_act=clock - now <= TOO_LATE_TO_ACT)
        return Swept(len(findings), sum(each.tell for each in todo.found), len(todo.over))

    async def find(self, looked: Moment) -> list[Finding]:
        """Everything that holds at this moment. What an hour came to is known when its calls have ended:
        so the hour before is looked at once more in the first minutes of the next."""
        found: list[Finding] = []
        if looked.now - looked.hour <= _CALLS_END:
            before = moment(self._calendar, looked.hour - _LAST_INSTANT, days=self._days())
            found += [*await self._spending(before), *await self._thresholds(before)]
        found += [*await self._spending(looked), *await self._thresholds(looked)]
        found += [*await self._velocity(looked), *await self._calls(looked), *await self._memory()]
        found += await self._traces()
        found += await self._backups()
        return found

    async def _velocity(self, looked: Moment) -> list[Finding]:
        if (velocity := self._rules.velocity_all) is None:
            return []
        spent = await self._store.anomalies.spent_since(looked, velocity.window_seconds)
        finding = velocity.judge(spent)
        return [] if finding is None else [finding]

    async def _spending(self, looked: Moment) -> list[Finding]:
        rules, store = self._rules, self._store.anomalies
        hourly = [rule.minimum_nano_usd for rule in (rules.hourly_jump, rules.seasonal) if rule]
        judges = [rule for rule in (rules.hourly_jump, rules.daily_sigma, rules.seasonal) if rule]
        if not judges:
            return []
        spending = await store.spending(
            looked,
            least_hour=min(hourly, default=_NEVER),
            least_today=rules.daily_sigma.minimum_nano_usd if rules.daily_sigma else _NEVER,
        )
        found = [rule.judge(agent) for agent in spending for rule in judges]
        return [finding for finding in found if finding is not None]

    async def _calls(self, looked: Moment) -> list[Finding]:
        rules, store = self._rules, self._store.anomalies
        found: list[Finding | None] = []
        if (rate := rules.error_rate) is not None:
            found += map(rate.judge, await store.outcomes(looked, rate.window_seconds))
        if (cascade := rules.error_cascade) is not None:
            found.append(cascade.judge(await store.outcomes(looked, cascade.window_seconds)))
        if (slow := rules.model_degradation) is not None:
            durations = await store.durations(looked, slow.window_seconds, minimum_calls=slow.minimum_calls)
            found += map(slow.judge, durations)
        if (success := rules.success_rate) is not None:
            found.append(success.judge(await store.outcome(looked, success.window_seconds)))
        if (cache := rules.cache_hit_rate) is not None:
            found.append(cache.judge(*await store.cached(looked, cache.window_seconds)))
        return [finding for finding in found if finding is not None]

    async def _thresholds(self, looked: Moment) -> list[Finding]:
        thresholds = self._rules.thresholds
        if not thresholds:
            return []
        limits: dict[tuple[str, str], int] = {}
        if any(threshold.share_millionths is not None for threshold in thresholds):
            _, known = await self._store.budgets.current_limits()
            limits = {(scope, period.value): limit for (scope, period), limit in known.items()}
        return over_thresholds(thresholds, await self._store.anomalies.spent(looked, thresholds), limits)

    async def _memory(self) -> list[Finding]:
        if self._rules.redis_memory is None:
            return []
        try:
            load = await self._authority.server_load()
            finding = self._rules.redis_memory.judge(load.used_bytes, load.limit_bytes)
        except StateUnavailable as error:  # its absence is told by others; what the ledger says goes on
            log.warning("the sweep cannot ask Redis", error=str(error))
            return []
        return [] if finding is None else [finding]

    async def _traces(self) -> list[Finding]:
        if (lag := self._rules.trace_export_lag) is None:
            return []
        found = [
            lag.judge(each.target, each.waiting, each.oldest_seconds, each.refused)
            for each in await self._store.traces.backlog()
        ]
        return [finding for finding in found if finding is not None]

    async def _backups(self) -> list[Finding]:
        rule, last = self._rules.backup_failed, await self._store.backups.last()
        if rule is None or last is None:
            return []
        finding = rule.judge(
            success=last.success, error=last.error_message, good_age_seconds=last.good_age_seconds
        )
        return [] if finding is None else [finding]

    async def _tell(self, todo: Plan, looked: Moment, *, may_act: bool) -> None:
        """First act, then tell, then remember: whatever is cut in between is done again by the next try."""
        for found in todo.found:
            done = await self._act(found) if may_act else {}
            if found.tell:
                await self._alert(found.finding, done, looked)
            await self._store.anomalies.found(found.finding, looked, told=found.tell, acted=bool(done))
        for episode in todo.over:
            await self._end(episode, looked)

    async def _act(self, found: Found) -> dict[str, object]:
        """Set the switch that is configured for it; what was done, in words of evidence ({}: nothing)."""
        wish = switch_wish(found.finding, self._rules.reactions) if found.act else None
        if wish is None:
            return {}
        try:
            ours = await self._set(wish)
        except StateUnavailable as error:  # then nothing is admitted anyway
            log.warning("the sweep cannot switch", switch=wish.name, error=str(error))
            return {}
        return (
            {"switch": wish.name, "switch_seconds": wish.seconds} if ours else {"was_set_already": wish.name}
        )

    async def _set(self, wish: SwitchWish) -> bool:
        """False: somebody else's is set already. What we set ourselves and could not tell is ours."""
        expires_ms = int(wish.seconds * 1000)
        if await self._authority.set_switch(wish.name, wish.value, expires_ms, only_if_unset=True):
            return True
        return (await self._authority.read_switches([wish.name])).get(wish.name) == wish.value

    async def _alert(self, finding: Finding, done: Mapping[str, object], looked: Moment) -> None:
        evidence = {**finding.evidence, **done}
        if looked.late:
            evidence["as_of"] = f"{looked.now:%Y-%m-%d %H:%M} UTC"
        await self._store.events.alert(
            finding.rule,
            finding.scope,
            evidence,
            key=_key(looked, finding.rule, finding.scope, finding.window),
            severity=finding.severity,
        )

    async def _end(self, episode: Episode, looked: Moment) -> None:
        evidence = {"lasted_seconds": int((episode.seen_at - episode.since).total_seconds())}
        await self._store.events.alert(
            episode.rule,
            episode.scope,
            {**evidence, "window": episode.window} if episode.window else evidence,
            key=f"{_key(looked, *episode.name)}:over",
            state="resolved",
        )
        await self._store.anomalies.ended(episode)

    def _days(self) -> int:
        """How many days before today the rules look at."""
        return max((rule.days for rule in (self._rules.daily_sigma, self._rules.seasonal) if rule), default=1)


def _key(looked: Moment, rule: str, scope: str, window: str) -> str:
    """One event per minute, rule, scope and window; a scope may be as long as a caller makes it."""
    about = f"{scope}|{window}" if window else scope
    if len(about) > _READABLE:
        about = episode_key(rule, scope, window)
    return f"sweep:{looked.now:%Y-%m-%dT%H:%MZ}:{rule}:{about}"
