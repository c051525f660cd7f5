"""Which deployments may answer, in which order."""

import pytest

from gateway.config import Tier
from gateway.policy.routing import candidates, resolve, tier_of

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
