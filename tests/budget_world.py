"""A Redis of its own for each test of the budget authority, and short ways to ask it for money.

After each test the keys that are left are compared with gateway.state.keys: one that has no TTL
and is not on the list of those that live until removed by rule fails the test.
"""

import fnmatch
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.calls import Settlement
from gateway.config import GatewayConfig, Velocity
from gateway.events import Event, Opened
from gateway.policy.money import MAX_NANO_USD, usd
from gateway.policy.refusals import Refusal
from gateway.policy.scopes import BudgetLine, Period, Scope, ScopeKind, Window
from gateway.state.authority import Ask, Authority, BudgetState, EpochSnapshot, Reservation
from gateway.state.keys import KEYS, OPEN_STATES, SWITCHES, Keys

DATABASE = 9
HOUR_MS = 3_600_000
FAR = usd(1_000_000)
KEY = Keys()

Connect = Callable[..., Awaitable[Authority]]


def settings(**changes: Any) -> GatewayConfig:
    """A configuration without providers; velocity out of the way unless a test wants it."""
    calm = Velocity(alert_nano_usd=MAX_NANO_USD, pause_nano_usd=MAX_NANO_USD, global_nano_usd=MAX_NANO_USD)
    return GatewayConfig({}, {}, (), **({"velocity": calm} | changes))


@pytest.fixture
async def raw(redis_url: str) -> AsyncIterator[Any]:
    """Plain Redis, as redis-cli would see it: an empty database."""
    url = redis_url.rsplit("/", 1)[0] + f"/{DATABASE}"
    async with Redis.from_url(url, decode_responses=True) as redis:
        await redis.flushdb()
        yield redis
        await assert_lifetimes(redis)
        await redis.flushdb()


@pytest.fixture
async def connect(raw: Any, redis_url: str) -> AsyncIterator[Connect]:
    """Connects processes: `await connect("p2", lease_seconds=0.1)`."""
    url = redis_url.rsplit("/", 1)[0] + f"/{DATABASE}"
    async with AsyncExitStack() as stack:

        async def process(process_id: str = "p1", **changes: Any) -> Authority:
            authority = await Authority.connect(url, process_id=process_id, config=settings(**changes))
            stack.push_async_callback(authority.close)
            return authority

        yield process


@pytest.fixture
async def authority(connect: Connect) -> Authority:
    """A process whose admission is open, with no limits but those of the lines."""
    authority = await connect()
    await authority.open_epoch(EpochSnapshot(epoch=1))
    return authority


async def assert_lifetimes(redis: Any) -> None:
    """Every key is known, and expires unless it is on the list of those that need not."""
    leaked = [key async for key in redis.scan_iter() if not await _may_stay(redis, key)]
    assert not leaked, f"keys without an end: {leaked}"


async def _may_stay(redis: Any, key: str) -> bool:
    if any(fnmatch.fnmatchcase(key, pattern) for pattern in SWITCHES):
        return True
    rules = [rule for rule in KEYS if fnmatch.fnmatchcase(key, KEY(rule.pattern))]
    assert len(rules) == 1, f"{key} is not (exactly once) in gateway.state.keys"
    if rules[0].lifetime == "rule" or await redis.pttl(key) > 0:
        return True
    return key.startswith(KEY("a:")) and await redis.hget(key, "state") in OPEN_STATES


# Asking


def opened(call: str, asked: int, agent: str = "coder", **fields: Any) -> Opened:
    defaults: dict[str, Any] = {
        "tier": "quick",
        "deployment": "sim/steady",
        "provider": "sim",
        "model": "steady",
    }
    return Opened(
        attempt_id="",
        call_key=call,
        number=0,
        process_id="p1",
        agent=agent,
        asked_nano_usd=asked,
        **(defaults | fields),
    )


def ask(call: str, asked: int, *lines: BudgetLine, agent: str = "coder", **options: Any) -> Ask:
    """Ask for `asked` nano-dollars, from agent coder, by default against nothing but a huge global day."""
    return Ask(opened(call, asked, agent), lines or (line("global", FAR),), **options)


def line(scope: str, limit: int | None, period: str = "day", **options: Any) -> BudgetLine:
    """`line("agent:coder", 100)`: an agent's day with a limit of 100 nano-dollars."""
    found = Scope.parse(scope)
    if found.kind is ScopeKind.RUN:
        period = "run"
    windows = options.pop("windows", None) or (RUN_WINDOW if period == "run" else (today(period),))
    return BudgetLine(found, Period(period), windows, limit, **options)


RUN_WINDOW = (Window("run", 0, 0),)


def today(period: str = "day") -> Window:
    """A window around now, whose id does not depend on when the test runs."""
    now_ms = time.time_ns() // 1_000_000
    return Window("2026-11-21" if period == "day" else "2026-11", now_ms - HOUR_MS, now_ms + HOUR_MS)


async def held(authority: Authority, what: Ask) -> Reservation:
    """Admit, and insist on it."""
    answer = await authority.admit(what)
    assert isinstance(answer, Reservation), str(answer)
    return answer


async def refused(authority: Authority, what: Ask) -> Refusal:
    """Admit, and insist on a refusal."""
    answer = await authority.admit(what)
    assert isinstance(answer, Refusal), str(answer)
    return answer


def settled(attempt: Reservation | str, cost: int, basis: str = "usage") -> Settlement:
    return Settlement.model_validate(
        {"attempt_id": _id(attempt), "state": "settled", "cost_nano_usd": cost, "basis": basis}
    )


def released(attempt: Reservation | str) -> Settlement:
    return Settlement(attempt_id=_id(attempt), state="released", basis="not_sent")


def doubted(attempt: Reservation | str, estimate: int = 0) -> Settlement:
    return Settlement(attempt_id=_id(attempt), state="in_doubt", estimate_nano_usd=estimate, basis="estimate")


def _id(attempt: Reservation | str) -> str:
    return attempt if isinstance(attempt, str) else attempt.attempt_id


async def spend(authority: Authority, call: str, cost: int, *lines: BudgetLine, agent: str = "coder") -> None:
    """A whole call that costs exactly what was held."""
    reservation = await held(authority, ask(call, cost, *lines, agent=agent))
    assert await authority.close_attempt(settled(reservation, cost)) == "applied"


async def counter(authority: Authority, name: str) -> BudgetState:
    """`await counter(authority, "agent:coder|day|2026-11-21")`"""
    (state,) = await authority.counters([name])
    return state


async def amounts(authority: Authority, name: str) -> tuple[int, int, int]:
    """(spent, held, in doubt) of a counter."""
    state = await counter(authority, name)
    return state.spent_nano_usd, state.held_nano_usd, state.in_doubt_nano_usd


async def events(authority: Authority, *kinds: str) -> list[Event]:
    """What is in the outbox and was not read before; only of these kinds, if any are named."""
    found = await authority.read_events("test", 10_000, 0)
    return [event for event in found if not kinds or event.kind in kinds]


def rules(alerts: Sequence[Event]) -> list[str]:
    return [event.body["rule"] for event in alerts if event.kind == "alert"]


async def lapse(redis: Any, attempt: Reservation, *, grace: bool = True) -> None:
    """Makes it as late as if the lease (and the grace after it) had gone by."""
    agent, now_ms = attempt.opened.agent, time.time_ns() // 1_000_000
    await redis.hset(KEY.reservation(attempt.attempt_id), "lease", 1 if grace else now_ms - 1)
    if grace:
        await redis.zadd(KEY("pending"), {attempt.attempt_id: 1})
        await redis.zadd(KEY.live(agent), {attempt.attempt_id: 1})
