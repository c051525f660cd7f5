"""`breaker:` in curb.yaml."""

import pytest

from gateway.errors import ConfigurationError
from gateway.policy.breaker import BreakerRules
from worker.config import parse_config


def read(text: str) -> BreakerRules:
    return parse_config(text).gateway.breaker


def test_what_is_not_written_keeps_its_default() -> None:
    assert read("") == BreakerRules()
    assert read("breaker: {failures: 3, open: 2s}") == BreakerRules(failures=3, open_seconds=2.0)


def test_off_means_never() -> None:
    assert read("breaker: off").failures == 0
    assert read("breaker: {failures: 0}").failures == 0


def test_a_circuit_can_always_open_and_never_for_less_than_it_begins_with() -> None:
    rules = read("breaker: {failures: 30, of: 10, open: 10m, longest: 1m}")

    assert (rules.failures, rules.of, rules.longest_seconds) == (30, 30, 600.0)


@pytest.mark.parametrize("text", ["breaker: {failures: -1}", "breaker: {ratio: 2}", "breaker: {open: soon}"])
def test_what_cannot_be_is_named(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"curb.yaml:1: breaker\."):
        read(text)
