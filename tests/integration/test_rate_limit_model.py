"""Rates against a model in plain Python, over random histories of asking, trying again and waiting."""

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from redis.asyncio import Redis

from gateway.policy.rate_limits import HOUR_MS, Rate, RateLine
from gateway.policy.refusals import Refusal, RefusalKind
from gateway.state.authority import Authority, EpochSnapshot, Reservation
from tests.budget_world import DATABASE, ask, line, released
from tests.budget_world import settings as authority_settings
from tests.rates import pass_time

MINUTE_MS = 60_000
WINDOWS = {"short": 10 * MINUTE_MS, "long": HOUR_MS}
TRIES_PER_REQUEST = 4


@dataclass
class Call:
    """What the model knows of a call. counted: lists it was counted in, since attempt `since`."""

    key: str
    attempts: int = 0
    since: int = 0
    counted: set[str] = field(default_factory=set)


class RateMachine(RuleBasedStateMachine):
    """Each rule asks Redis and the model the same; time passes in steps of minutes."""

    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.raw: Any = None
        self.authority: Authority = self.runner.run(self._open())
        self.now_ms = 0
        self.limits = {"tier": 3, "user": 2, "model": 4}
        self.times: dict[str, list[int]] = {}
        self.calls: list[Call] = []

    async def _open(self) -> Authority:
        self.raw = Redis.from_url(self.url, decode_responses=True)
        await self.raw.flushdb()
        authority = await Authority.connect(self.url, process_id="p1", config=authority_settings())
        await authority.open_epoch(EpochSnapshot(epoch=1))
        return authority

    def teardown(self) -> None:
        self.runner.run(self.authority.close())
        self.runner.run(self.raw.aclose())
        self.runner.close()

    # What the model says

    def lines(self, user: str, windows: list[str]) -> list[RateLine]:
        return [
            RateLine(kind, f"{kind}:{user}", Rate(limit, WINDOWS[window]), each_attempt=kind == "model")
            for kind, limit in self.limits.items()
            for window in windows
        ]

    def due(self, call: Call, lines: list[RateLine]) -> list[RateLine]:
        if not call.since or call.attempts + 1 >= call.since + TRIES_PER_REQUEST:
            return lines
        return [each for each in lines if each.each_attempt or name(each) not in call.counted]

    def waits_ms(self, each: RateLine) -> int | None:
        """How long until one more fits, 0: it does; None: never."""
        if not each.rate.limit:
            return None
        times = self.times.get(name(each), [])
        if len(times) < each.rate.limit:
            return 0
        return max(0, times[-each.rate.limit] + each.rate.window_ms - self.now_ms)

    def count(self, call: Call, due: list[RateLine]) -> None:
        call.attempts += 1
        if not call.since or call.attempts >= call.since + TRIES_PER_REQUEST:
            call.since, call.counted = call.attempts, set()
        for each in due:
            times = self.times.setdefault(name(each), [])
            times.append(self.now_ms)
            assert sum(at > self.now_ms - each.rate.window_ms for at in times) <= each.rate.limit
            if not each.each_attempt:
                call.counted.add(name(each))

    # What may happen

    @rule(
        again=st.integers(0, 5),
        user=st.sampled_from("ab"),
        windows=st.sampled_from([["short"], ["long"], ["short", "long"]]),
        affordable=st.sampled_from([True, True, True, False]),
    )
    def ask_for(self, again: int, user: str, windows: list[str], affordable: bool) -> None:
        call = self.pick(again)
        lines = self.lines(user, windows)
        due = self.due(call, lines)
        waits = [self.waits_ms(each) for each in due]
        answer = self.runner.run(self.admit(call, lines, affordable))
        if None in waits or any(waits):
            assert isinstance(answer, Refusal)
            assert answer.kind is RefusalKind.RATE_LIMITED, str(answer)
            assert (answer.retry_at_ms is None) == (None in waits)
        elif not affordable:
            assert isinstance(answer, Refusal)
            assert answer.kind is RefusalKind.NEVER_FITS, str(answer)
        else:
            assert isinstance(answer, Reservation), str(answer)
            self.count(call, due)

    def pick(self, again: int) -> Call:
        """Mostly a new call, sometimes one of the last few once more."""
        if again and again <= len(self.calls):
            return self.calls[-again]
        self.calls.append(Call(f"c{len(self.calls)}"))
        return self.calls[-1]

    async def admit(self, call: Call, lines: list[RateLine], affordable: bool) -> Reservation | Refusal:
        what = ask(call.key, 10, line("agent:coder", 1_000 if affordable else 5), daily_switch=False)
        answer = await self.authority.admit(replace(what, rates=tuple(lines)))
        if isinstance(answer, Reservation):
            await self.authority.close_attempt(released(answer))
        return answer

    @rule(minutes=st.integers(1, 61))
    def wait(self, minutes: int) -> None:
        self.now_ms += minutes * MINUTE_MS
        self.runner.run(pass_time(self.raw, minutes * MINUTE_MS))

    @rule(kind=st.sampled_from(["tier", "user", "model"]), limit=st.integers(0, 6))
    def configure(self, kind: str, limit: int) -> None:
        self.limits[kind] = limit


def name(each: RateLine) -> str:
    return f"{each.rule}:{each.rate.window_ms}:{each.scope}"


@pytest.mark.timeout(240)
def test_rates_equal_a_model_over_random_histories(redis_url: str) -> None:
    RateMachine.url = redis_url.rsplit("/", 1)[0] + f"/{DATABASE}"
    run_state_machine_as_test(
        RateMachine,
        settings=settings(
            max_examples=150,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
