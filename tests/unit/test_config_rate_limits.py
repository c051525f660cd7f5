"""`rate_limits:` in curb.yaml."""

import pytest

from gateway.errors import ConfigurationError
from gateway.policy.money import usd
from gateway.policy.rate_limits import HOUR_MS, Expensive, Rate, RateLimits
from worker.config import parse_config


def read(text: str) -> RateLimits:
    return parse_config(f"rate_limits:\n{text}").gateway.rate_limits


def test_nothing_written_leaves_the_defaults() -> None:
    assert parse_config("").gateway.rate_limits == RateLimits()
    assert RateLimits().tiers["pro"] == Rate(100, HOUR_MS)
    assert RateLimits().anonymous is None


@pytest.mark.parametrize(
    ("written", "rate"),
    [
        ("20", Rate(20, HOUR_MS)),
        ("20/h", Rate(20, HOUR_MS)),
        ("5 / s", Rate(5, 1_000)),
        ("500/10m", Rate(500, 600_000)),
        ("1000/1d", Rate(1_000, 86_400_000)),
        ("3/250ms", Rate(3, 250)),
        ("0", Rate(0, HOUR_MS)),
    ],
)
def test_a_rate_is_a_number_in_a_stretch_of_time(written: str, rate: Rate) -> None:
    assert read(f"  tiers: {{pro: {written}}}").tiers["pro"] == rate


def test_what_is_written_replaces_its_default_and_nothing_else() -> None:
    limits = read("  tiers: {pro: 7, free: unlimited}\n  expensive: {from: 0.50, limits: {pro: 2/d}}")

    assert limits.tiers == {
        "anonymous": Rate(3, HOUR_MS),
        "pro": Rate(7, HOUR_MS),
        "enterprise": Rate(1_000, HOUR_MS),
    }
    assert limits.expensive == Expensive(
        from_nano_usd=usd("0.50"), rates={**Expensive().rates, "pro": Rate(2, 86_400_000)}
    )


def test_scopes_take_one_rate_or_several() -> None:
    limits = read(
        '  requests: {global: 1000/m, "agent:*": [10/s, 200/m]}\n  in_flight: {"key:*": 10, "agent:a": 0}'
    )

    assert limits.scopes == {
        "global": (Rate(1_000, 60_000),),
        "agent:*": (Rate(10, 1_000), Rate(200, 60_000)),
    }
    assert limits.in_flight == {"key:*": 10, "agent:a": 0}


def test_callers_without_a_key_are_let_in_for_the_tiers_that_are_named() -> None:
    assert read("  anonymous: [quick]").anonymous == frozenset({"quick"})
    assert read("  anonymous: off").anonymous is None


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("  anonymous: on", ":2: rate_limits.anonymous: write off, or the tiers that callers without a key"),
        ("  anonymous: [quik]", "there is no tier quik; did you mean quick?"),
        ("  tiers: {pro: often}", "write how many in which time, for example 100/h"),
        ("  tiers: {pro: 5/fortnight}", "write how many in which time"),
        ("  tiers: {pro: 5/0s}", "in 31 days or less"),
        ("  tiers: {pro: 5/32d}", "in 31 days or less"),
        ("  tiers: {pro: 100001/h}", "at most 100,000 requests"),
        ("  tiers: {gold: 5}", "gold"),
        ("  expensive: {tiers: [none]}", "there is no tier none"),
        ("  requests: {global: 5/s, everyone: 5/s}", "write global, agent:NAME, model:NAME"),
        ('  requests: {"agent:": 5/s}', "write global, agent:NAME"),
        ('  requests: {"global:x": 5/s}', "write global, agent:NAME"),
        ('  requests: {"agent:*": [5/s, 9/s]}', "two rates of the same window"),
        ('  requests: {"model:none": 5/s}', "there is no deployment none"),
        ("  in_flight: {global: 5}", "write agent:NAME, key:NAME"),
        ('  in_flight: {"key:*": -1}', "in_flight"),
    ],
)
def test_what_cannot_be_is_named_with_its_remedy(written: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read(written)
    assert said in str(refused.value)
