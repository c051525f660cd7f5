"""The circuit breaker against a model in plain Python, over random histories of calls and waiting."""

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from redis.asyncio import Redis

from gateway.policy.breaker import BreakerRules, Outcome
from gateway.policy.refusals import Refusal
from gateway.state.authority import Authority, EpochSnapshot, Reservation
from tests.budget_world import DATABASE, KEY, ask, released
from tests.budget_world import settings as authority_settings

NAME = "sim/steady"
RULES = BreakerRules(failures=2, of=4, ratio=0.5, open_seconds=100.0, longest_seconds=300.0)


class BreakerMachine(RuleBasedStateMachine):
    """Time passes in steps of 50 s; circuits open for 100, 200, 300 s."""

    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.raw: Any = None
        self.authority: Authority = self.runner.run(self._open())
        self.now = 0
        self.last: list[str] = []
        self.open_until: int | None = None
        self.paused_until = 0
        self.trips = 0
        self.trying: Reservation | None = None
        self.flying: list[Reservation] = []
        self.calls = 0

    async def _open(self) -> Authority:
        self.raw = Redis.from_url(self.url, decode_responses=True)
        await self.raw.flushdb()
        config = authority_settings(breaker=RULES, lease_seconds=60.0)
        authority = await Authority.connect(self.url, process_id="p1", config=config)
        await authority.open_epoch(EpochSnapshot(epoch=1))
        return authority

    def teardown(self) -> None:
        self.runner.run(self.authority.close())
        self.runner.run(self.raw.aclose())
        self.runner.close()

    @rule()
    def call(self) -> None:
        self.calls += 1
        answer = self.runner.run(self.authority.admit(ask(f"c{self.calls}", 1)))
        half_open = self.open_until is not None and self.open_until <= self.now
        left_out = self.paused_until > self.now or (self.open_until is not None and not half_open)
        if left_out or (half_open and self.trying is not None):
            assert isinstance(answer, Refusal), answer
            return
        assert isinstance(answer, Reservation), str(answer)
        self.flying.append(answer)
        if half_open:
            self.trying = answer

    @rule(
        index=st.integers(0, 10),
        outcome=st.sampled_from(["good", "bad", "bad", "unknown"]),
        pause=st.sampled_from([0, 0, 0, 100, 1_000]),
    )
    def end(self, index: int, outcome: Outcome, pause: int) -> None:
        if not self.flying:
            return
        attempt = self.flying.pop(index % len(self.flying))
        pause = 0 if outcome == "good" else pause
        tries, self.trying = attempt is self.trying, None if attempt is self.trying else self.trying
        self.runner.run(self.authority.close_attempt(released(attempt)))
        changed = self.runner.run(
            self.authority.report_breaker(NAME, attempt.attempt_id, outcome, pause_seconds=pause)
        )
        assert changed == self.after(tries, outcome, pause)

    def after(self, tries: bool, outcome: Outcome, pause: int) -> str:
        if tries and outcome == "good":
            self.last, self.open_until, self.paused_until, self.trips = [], None, 0, 0
            return "closed"
        if tries and outcome == "bad":
            return self.trip(pause)
        if self.open_until is None and outcome != "unknown":
            if self.last or outcome == "bad":
                self.last = [outcome, *self.last][: RULES.of]
            bad = self.last.count("bad")
            if outcome == "bad" and bad >= RULES.failures and bad >= RULES.ratio * len(self.last):
                return self.trip(pause)
        return self.pause(pause)

    def trip(self, pause: int) -> str:
        self.trips += 1
        self.open_until = self.now + min(max(100 * 2 ** (self.trips - 1), pause), 300)
        self.last = []
        return "opened"

    def pause(self, seconds: int) -> str:
        until, before = self.now + min(seconds, 300), self.paused_until
        if not seconds or until <= before:
            return ""
        self.paused_until = until
        return "" if before > self.now else "paused"

    @rule(steps=st.integers(1, 3))
    def wait(self, steps: int) -> None:
        self.now += 50 * steps
        self.runner.run(self.shift(50_000 * steps))

    async def shift(self, milliseconds: int) -> None:
        key = KEY(f"breaker:{NAME}")
        for field in ("open_until", "paused_until"):
            if await self.raw.hexists(key, field):
                await self.raw.hincrby(key, field, -milliseconds)

    @invariant()
    def it_shows_what_it_does(self) -> None:
        [seen] = self.runner.run(self.authority.breakers([NAME]))
        half_open = self.open_until is not None and self.open_until <= self.now
        if self.open_until is not None and not half_open:
            expected = "open"
        elif self.paused_until > self.now:
            expected = "paused"
        else:
            expected = "half_open" if half_open else "closed"
        assert (seen.circuit, seen.trips, seen.probing) == (expected, self.trips, self.trying is not None)


@pytest.mark.timeout(240)
def test_circuits_equal_a_model_over_random_histories(redis_url: str) -> None:
    BreakerMachine.url = redis_url.rsplit("/", 1)[0] + f"/{DATABASE}"
    run_state_machine_as_test(
        BreakerMachine,
        settings=settings(
            max_examples=100,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
