"""Which deployments may answer, in which order."""

import pytest

from gateway.config import Tier
from gateway.policy.routing import candidates, larger, likely_fits, no_larger, resolve, shared_out, tier_of

TIERS = (
    Tier("quick", ("groq/llama", "google/lite")),
    Tier("max", ("anthropic/opus", "openai/gpt", "gone/model")),
)
DEPLOYMENTS = frozenset({"groq/llama", "google/lite", "anthropic/opus", "openai/gpt", "together/llama"})
ALIASES = {"opus": "anthropic/opus", "best": "max", "dangling": "nowhere"}


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("quick", ("groq/llama", "google/lite")),
        ("max", ("anthropic/opus", "openai/gpt")),  # what is not configured is left out
        ("together/llama", ("together/llama",)),
        ("opus", ("anthropic/opus",)),
        ("best", ("anthropic/opus", "openai/gpt")),
        ("dangling", ()),
        ("unknown", ()),
    ],
)
def test_a_tier_gives_its_deployments_and_a_name_gives_itself(asked: str, found: tuple[str, ...]) -> None:
    assert candidates(asked, TIERS, DEPLOYMENTS, ALIASES) == found


def test_what_is_switched_off_is_left_out() -> None:
    assert candidates("quick", TIERS, DEPLOYMENTS, off={"groq/llama"}) == ("google/lite",)
    assert candidates("together/llama", TIERS, DEPLOYMENTS, off={"together/llama"}) == ()


def test_an_alias_never_hides_a_configured_name() -> None:
    assert resolve("quick", TIERS, DEPLOYMENTS, {"quick": "openai/gpt"}) == "quick"


def test_a_deployment_belongs_to_the_cheapest_tier_that_has_it() -> None:
    assert tier_of("openai/gpt", TIERS) == "max"
    assert tier_of("together/llama", TIERS) == ""


def test_only_a_tier_has_larger_ones_and_those_that_are_configured() -> None:
    tiers = (Tier("quick", ("groq/llama",), larger=("anthropic/opus", "gone/model")),)

    assert larger("quick", tiers, DEPLOYMENTS) == ("anthropic/opus",)
    assert larger("groq/llama", tiers, DEPLOYMENTS) == ()


@pytest.mark.parametrize(
    ("size", "output", "window", "fits"),
    [(4_000, 1_000, 2_000, True), (4_004, 1_000, 2_000, False), (10**9, 1_000, None, True)],
)
def test_four_bytes_are_guessed_to_be_a_token(size: int, output: int, window: int | None, fits: bool) -> None:
    assert likely_fits(size, output, window) is fits


def test_only_one_that_is_known_to_take_no_more_is_left_out() -> None:
    assert no_larger(1_000, 1_000)
    assert not no_larger(1_001, 1_000)
    assert not no_larger(None, 1_000)
    assert not no_larger(1_000, None)


def test_a_share_of_the_calls_comes_first_as_often_as_its_weight_says() -> None:
    names, weights = ("a", "b", "off"), {"a": 3, "off": 0}
    drawn = [shared_out(names, weights, f"call-{number}") for number in range(4_000)]

    assert 2_850 < sum(order[0] == "a" for order in drawn) < 3_150
    assert all(order[-1] == "off" for order in drawn)
    assert shared_out(names, weights, "call-7") == drawn[7]
