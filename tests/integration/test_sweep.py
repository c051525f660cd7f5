"""The sweep over real books: every rule fires, is told once, acts once, and ends."""

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest

from gateway.events import Event
from gateway.policy.anomaly_calls import CacheHitRate, RedisMemory, TraceLag
from gateway.policy.cost_thresholds import CostThreshold
from gateway.policy.money import usd
from gateway.policy.periods import Calendar
from gateway.policy.scopes import Period
from gateway.policy.sweep_rules import Reaction, SweepRules
from gateway.state.authority import Authority
from gateway.store import Store
from gateway.store.events import Alert
from gateway.sweep import Sweep
from tests.integration.ledger_events import posted
from tests.integration.spending_past import book, call, calls

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
_MONTHS = count()

SweepMaker = Callable[..., Sweep]


@pytest.fixture
async def store(database: str) -> AsyncIterator[Store]:
    async with await Store.connect(database) as store:
        yield store


@pytest.fixture
def now() -> datetime:
    """Half past ten of a day of this test alone, far from those of the others."""
    return datetime(2030, 1, 20, 10, 30, tzinfo=UTC) + next(_MONTHS) * timedelta(days=70)


@pytest.fixture
def sweeper(store: Store, authority: Authority) -> SweepMaker:
    def make(*, zone: str = "UTC", day_start: int = 0, **rules: Any) -> Sweep:
        return Sweep(authority, store, Calendar(ZoneInfo(zone), day_start), SweepRules(**rules))

    return make


async def told(store: Store, rule: str) -> list[Alert]:
    """Events of a rule, the oldest first."""
    return sorted(await store.events.alerts(rule=rule, limit=1000), key=lambda alert: alert.at)


async def told_of(store: Store, rule: str, scope: str) -> list[str]:
    return [alert.state for alert in await told(store, rule) if alert.scope == scope]


def usual_days(now: datetime, agent: str, *, days: int = 7) -> Iterator[Event]:
    """A dollar at ten, two at noon, every day."""
    for number in range(1, days + 1):
        ten = now.replace(minute=5) - number * DAY
        yield from call(ten, "1", agent=agent)
        yield from call(ten + 2 * HOUR, "2", agent=agent)


def velocity(now: datetime) -> list[Event]:
    return calls(now - 2 * MINUTE, 6, "9", agent="all-1") + calls(now - 2 * MINUTE, 1, "0.01", agent="all-2")


def jump(now: datetime) -> list[Event]:
    return call(now - HOUR, "2", agent="jump") + call(now - 10 * MINUTE, "6.50", agent="jump")


def sigma(now: datetime) -> list[Event]:
    return [*usual_days(now, "sigma"), *call(now - 9 * HOUR, "6.50", agent="sigma")]


def season(now: datetime) -> list[Event]:
    return [*usual_days(now, "season"), *call(now - MINUTE, "4", agent="season")]


def failing(now: datetime) -> list[Event]:
    return calls(now - MINUTE, 17, agent="fails") + calls(now - MINUTE, 3, agent="fails", status="timeout")


def cascade(now: datetime) -> list[Event]:
    return [
        event
        for agent in range(4)
        for event in calls(now - MINUTE, 2, agent=f"fails-{agent}", status="error")
    ]


def slow(now: datetime) -> list[Event]:
    return calls(now - 2 * MINUTE, 20, deployment="sim/slow", seconds=12, agent="slow")


def unsuccessful(now: datetime) -> list[Event]:
    return calls(now - 10 * MINUTE, 18, agent="mostly") + calls(
        now - 10 * MINUTE, 2, agent="x", status="error"
    )


def hourly(now: datetime) -> list[Event]:
    return [event for agent in range(4) for event in call(now - 20 * MINUTE, "3", agent=f"hour-{agent}")]


def by_one_user(now: datetime) -> list[Event]:
    return [
        event for hour in range(3) for event in call(now - hour * HOUR, "4", user="u-1", agent=f"h{hour}")
    ]


FIRES: dict[str, tuple[Callable[[datetime], list[Event]], str, str, dict[str, object]]] = {
    "velocity_all": (velocity, "global", "critical", {"spent_nano_usd": usd("54.01"), "window_seconds": 300}),
    "hourly_jump": (
        jump, "agent:jump", "warning", {"spent_nano_usd": usd("6.5"), "hour_before_nano_usd": usd(2)},
    ),
    "daily_sigma": (
        sigma, "agent:sigma", "warning", {"spent_nano_usd": usd("6.5"), "mean_nano_usd": usd(1), "days": 7},
    ),
    "seasonal": (
        season, "agent:season", "warning", {"spent_nano_usd": usd(4), "usual_nano_usd": usd(1), "days": 7},
    ),
    "error_rate": (failing, "agent:fails", "warning", {"error_ratio": 0.15, "errors": 3, "calls": 20}),
    "error_cascade": (cascade, "global", "critical", {"agents": 4, "errors": 8}),
    "model_degradation": (slow, "model:sim/slow", "warning", {"p95_ms": 12_000, "calls": 20}),
    "success_rate": (unsuccessful, "global", "warning", {"success_ratio": 0.9, "failed": 2, "calls": 20}),
    "cost_threshold": (
        hourly, "global", "warning",
        {"period": "hour", "actual_nano_usd": usd(12), "threshold_nano_usd": usd(10)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("rule", FIRES)
async def test_every_rule_fires_from_the_books(
    rule: str, store: Store, sweeper: SweepMaker, now: datetime
) -> None:
    arrange, scope, severity, numbers = FIRES[rule]
    await book(store, arrange(now))
    before = len(await told(store, rule))

    await sweeper().sweep(now, now)

    new = [alert for alert in (await told(store, rule))[before:] if alert.scope == scope]
    assert [(alert.state, alert.severity) for alert in new] == [("firing", severity)]
    assert {name: new[0].evidence[name] for name in numbers} == numbers


async def test_a_user_above_ten_dollars_a_day_is_told(
    store: Store, sweeper: SweepMaker, now: datetime
) -> None:
    await book(store, by_one_user(now))

    await sweeper().sweep(now, now)

    [alert] = [a for a in await told(store, "cost_threshold") if a.scope == "user:u-1"]
    assert alert.evidence["window"] == f"{now:%Y-%m-%d}"
    assert alert.evidence["actual_nano_usd"] == usd(12)


async def test_the_month_counts_from_its_first_day(store: Store, sweeper: SweepMaker, now: datetime) -> None:
    begins = now.replace(day=1, hour=0, minute=5)
    await book(store, call(begins, "900", agent="month"), call(begins - HOUR, "900", agent="month"))
    mine = CostThreshold("month", "agent:month", "month", usd(500))

    await sweeper(thresholds=(mine,)).sweep(now, now)

    [alert] = [a for a in await told(store, "cost_threshold") if a.scope == "agent:month"]
    assert alert.evidence["actual_nano_usd"] == usd(900)


async def test_a_share_of_a_limit_follows_the_limit(store: Store, sweeper: SweepMaker, now: datetime) -> None:
    half = CostThreshold("half", "team:blue", "day", share_millionths=500_000, channels=("email",))
    await book(store, call(now - MINUTE, "6", team="blue", agent="share"))
    await store.budgets.apply_policy({("team:blue", Period.DAY): usd(20)}, source="20", applied_by="test")

    await sweeper(thresholds=(half,)).sweep(now, now)
    assert await told_of(store, "cost_threshold", "team:blue") == []

    await store.budgets.apply_policy({("team:blue", Period.DAY): usd(10)}, source="10", applied_by="test")
    await sweeper(thresholds=(half,)).sweep(now + MINUTE, now + MINUTE)

    [alert] = [a for a in await told(store, "cost_threshold") if a.scope == "team:blue"]
    assert alert.evidence["channels"] == ["email"]


async def test_a_day_that_begins_in_the_evening_is_one_day(
    store: Store, sweeper: SweepMaker, now: datetime
) -> None:
    """Six in the morning of Kolkata is half past midnight UTC: in the middle of an hour."""
    edge = now.replace(hour=0, minute=30)
    today, yesterday = f"{now:%Y-%m-%d}", f"{now - DAY:%Y-%m-%d}"
    await book(
        store,
        call(edge - 5 * MINUTE, "40", agent="kolkata", day=yesterday),
        call(edge + 5 * MINUTE, "4", agent="kolkata", day=today),
    )
    mine = CostThreshold("day", "agent:kolkata", "day", usd(3))
    maker = sweeper(zone="Asia/Kolkata", day_start=6 * 3600, thresholds=(mine,))

    await maker.sweep(edge + 10 * MINUTE, edge + 10 * MINUTE)

    [alert] = [a for a in await told(store, "cost_threshold") if a.scope == "agent:kolkata"]
    assert alert.evidence["actual_nano_usd"] == usd(4)


async def test_the_cache_is_judged_only_where_the_rule_is_on(
    store: Store, sweeper: SweepMaker, now: datetime, database: str
) -> None:
    await book(store, calls(now - 20 * MINUTE, 60, agent="cache"))
    with psycopg.connect(database) as connection:
        connection.execute(
            "UPDATE attempts SET cached = true WHERE attempt_id IN"
            " (SELECT attempt_id FROM attempts WHERE agent = 'cache' ORDER BY at LIMIT 10)"
        )

    await sweeper().sweep(now, now)
    assert await told(store, "cache_hit_rate") == []
    await sweeper(cache_hit_rate=CacheHitRate()).sweep(now, now)

    [alert] = await told(store, "cache_hit_rate")
    assert alert.evidence["cached"] == 10


async def test_redis_is_judged_by_its_own_limit(
    store: Store, sweeper: SweepMaker, now: datetime, raw: Any
) -> None:
    nearly = sweeper(redis_memory=RedisMemory(above=0.000_001))
    await nearly.sweep(now, now)
    assert await told(store, "redis_memory") == []

    await raw.config_set("maxmemory", "4gb")
    try:
        await nearly.sweep(now + MINUTE, now + MINUTE)
    finally:
        await raw.config_set("maxmemory", "0")

    [alert] = await told(store, "redis_memory")
    assert alert.evidence["limit_bytes"] == 4 * 2**30


async def test_traces_that_do_not_get_anywhere_are_told(
    store: Store, sweeper: SweepMaker, now: datetime
) -> None:
    await store.traces.aim(["langfuse"])
    try:
        await store.traces.mark(["attempt:a#1", "attempt:b#1"])
        await sweeper(trace_export_lag=TraceLag(after_seconds=0)).sweep(now, now)
    finally:
        await store.traces.aim([])

    [alert] = await told(store, "trace_export_lag")
    assert (alert.scope, alert.evidence["waiting"]) == ("traces:langfuse", 2)


async def test_a_backup_that_failed_is_told_and_a_good_one_ends_it(
    store: Store, sweeper: SweepMaker, now: datetime
) -> None:
    before = datetime.now(UTC)
    await store.backups.note(before - timedelta(hours=30), success=True, kind="pg_dump")
    await sweeper().sweep(now, now)
    [alert] = await told(store, "backup_failed")
    assert alert.evidence["failed"] is False

    await store.backups.note(before, success=True, kind="pg_dump", size_bytes=7)
    await sweeper().sweep(now + timedelta(minutes=10), now + timedelta(minutes=10))
    assert [alert.state for alert in await told(store, "backup_failed")] == ["firing", "resolved"]


async def test_what_was_settled_late_or_adjusted_is_not_speed(
    store: Store, sweeper: SweepMaker, now: datetime
) -> None:
    [opens, closes] = call(now - DAY, "60", agent="doubted", seconds=86_300)
    doubt = Event("in_doubt", {"attempt_id": opens.body["attempt_id"], "by": "sweep"}, 1, 2, opens.at_ms + 1)
    correction = posted("speed/1", str(opens.body["attempt_id"]), usd(60))
    await book(store, [opens, doubt, closes, Event("posted", correction.body, 1, 9, closes.at_ms)])
    before = len(await told(store, "velocity_all"))

    await sweeper().sweep(now, now)

    assert len(await told(store, "velocity_all")) == before


async def test_a_call_that_succeeds_at_the_second_try_is_a_success(
    store: Store, sweeper: SweepMaker, now: datetime
) -> None:
    for number in range(20):
        await book(
            store,
            call(now - MINUTE, agent="retries", of_call=f"again-{now}-{number}", status="error"),
            call(now - MINUTE, agent="retries", of_call=f"again-{now}-{number}"),
        )
    before = len(await told(store, "success_rate"))

    await sweeper().sweep(now, now)

    assert len(await told(store, "success_rate")) == before
    assert await told_of(store, "error_rate", "agent:retries") == ["firing"]


async def test_the_same_minute_twice_is_told_once(store: Store, sweeper: SweepMaker, now: datetime) -> None:
    await book(store, call(now - MINUTE, "7", agent="twice"))

    for seconds in (0, 0, 31):
        await sweeper().sweep(now + timedelta(seconds=seconds), now)

    assert await told_of(store, "hourly_jump", "agent:twice") == ["firing"]


async def test_what_goes_on_is_told_every_few_minutes_and_its_end_once(
    store: Store, sweeper: SweepMaker, now: datetime
) -> None:
    await book(store, calls(now - MINUTE, 20, agent="errs", status="error"))
    sweep = sweeper(remind_seconds=120.0, rest_seconds={"error_rate": 180.0})

    for minute in range(12):
        await sweep.sweep(now + minute * MINUTE, now + minute * MINUTE)

    states = await told_of(store, "error_rate", "agent:errs")
    assert states == ["firing", "firing", "firing", "resolved"]  # at 0, 2 and 4, when it is found last; at 7


async def test_the_end_of_a_threshold_names_its_window(
    store: Store, sweeper: SweepMaker, now: datetime
) -> None:
    mine = CostThreshold("hour", "agent:ends", "hour", usd(1))
    await book(store, call(now - MINUTE, "2", agent="ends"))
    sweep = sweeper(thresholds=(mine,))

    await sweep.sweep(now, now)
    await sweep.sweep(now + HOUR, now + HOUR)

    first, last = [a for a in await told(store, "cost_threshold") if a.scope == "agent:ends"]
    assert (first.state, last.state) == ("firing", "resolved")
    assert first.evidence["window"] == last.evidence["window"] == f"{now:%Y-%m-%dT%H}:00Z"


async def test_a_configured_switch_is_set_with_an_end_and_its_reason(
    store: Store, sweeper: SweepMaker, authority: Authority, raw: Any, now: datetime
) -> None:
    await book(store, call(now - MINUTE, "7", agent="runs-away"))

    await sweeper(reactions={"hourly_jump": Reaction("kill", 600)}).sweep(now, now)

    value = await raw.get("kill:agent:runs-away")
    assert value == "auto:anomaly:hourly_jump: spent $7.00, hour before $0.00, limit $5.00, times 3"
    assert 0 < await raw.pttl("kill:agent:runs-away") <= 600_000
    [alert] = [a for a in await told(store, "hourly_jump") if a.scope == "agent:runs-away"]
    assert alert.evidence["switch"] == "kill:agent:runs-away"


async def test_a_switch_set_by_hand_stays(
    store: Store, sweeper: SweepMaker, authority: Authority, raw: Any, now: datetime
) -> None:
    await book(store, call(now - MINUTE, "7", agent="held"))
    await authority.set_switch("throttle:agent:held", "manual:adam:slower")

    await sweeper(reactions={"hourly_jump": Reaction("throttle")}).sweep(now, now)

    assert await raw.get("throttle:agent:held") == "manual:adam:slower"
    assert await raw.pttl("throttle:agent:held") == -1


async def test_a_switch_that_somebody_lifted_is_not_set_again_in_the_episode(
    store: Store, sweeper: SweepMaker, authority: Authority, now: datetime
) -> None:
    await book(store, call(now - MINUTE, "7", agent="lifted"))
    sweep = sweeper(reactions={"hourly_jump": Reaction("kill")})
    await sweep.sweep(now, now)
    await authority.clear_switch("kill:agent:lifted")

    await sweep.sweep(now + 6 * MINUTE, now + 6 * MINUTE)

    assert await authority.read_switches(["kill:agent:lifted"]) == {}
    assert await told_of(store, "hourly_jump", "agent:lifted") == ["firing", "firing"]


async def test_nothing_is_switched_for_a_minute_that_is_long_over(
    store: Store, sweeper: SweepMaker, authority: Authority, now: datetime
) -> None:
    await book(store, call(now - MINUTE, "7", agent="past"))
    sweep = sweeper(reactions={"hourly_jump": Reaction("kill")})

    await sweep.sweep(now, now + 10 * MINUTE)
    assert await authority.read_switches(["kill:agent:past"]) == {}
    assert await told_of(store, "hourly_jump", "agent:past") == ["firing"]

    await sweep.sweep(now + 10 * MINUTE, now + 10 * MINUTE)  # but what still holds is acted on
    assert list(await authority.read_switches(["kill:agent:past"])) == ["kill:agent:past"]


async def test_a_backfill_sees_the_past_and_not_what_came_after(
    store: Store, sweeper: SweepMaker, now: datetime
) -> None:
    await book(
        store,
        call(now - 20 * MINUTE, "7", agent="early"),
        call(now + 5 * MINUTE, "7", agent="after"),
    )

    await sweeper().sweep(now, now + 2 * DAY)

    [alert] = [a for a in await told(store, "hourly_jump") if a.scope == "agent:early"]
    assert alert.evidence["as_of"] == f"{now:%Y-%m-%d %H:%M} UTC"
    assert await told_of(store, "hourly_jump", "agent:after") == []


async def test_what_ends_after_its_hour_is_still_counted_to_it(
    store: Store, sweeper: SweepMaker, now: datetime
) -> None:
    o_clock = now.replace(minute=0)
    mine = CostThreshold("hour", "agent:long", "hour", usd(1))
    await book(store, call(o_clock - MINUTE, "6", agent="long", seconds=90))

    await sweeper(thresholds=(mine,)).sweep(o_clock + MINUTE, o_clock + MINUTE)

    assert await told_of(store, "hourly_jump", "agent:long") == ["firing"]
    [alert] = [a for a in await told(store, "cost_threshold") if a.scope == "agent:long"]
    assert alert.evidence["window"] == f"{o_clock - HOUR:%Y-%m-%dT%H}:00Z"


async def test_scopes_of_any_length_can_be_told(store: Store, sweeper: SweepMaker, now: datetime) -> None:
    user = "".join(chr(97 + (number * 7919) % 26) for number in range(9_000))
    await book(store, call(now - MINUTE, "11", user=user, agent="wordy"))

    for minute in (0, 1):
        await sweeper().sweep(now + minute * MINUTE, now + minute * MINUTE)

    assert await told_of(store, "cost_threshold", f"user:{user}") == ["firing"]
