"""What holds before anybody configures anything: REQUIREMENTS 1 and 5."""

import pytest

from gateway.defaults import default_config, default_limits
from gateway.policy.money import usd
from gateway.policy.routing import candidates
from gateway.policy.scopes import Period

CONFIG = default_config()


def test_four_tiers_from_the_cheapest_with_their_daily_budgets() -> None:
    assert [(tier.name, tier.daily_budget_nano_usd) for tier in CONFIG.tiers] == [
        ("quick", usd(5)), ("balanced", usd(20)), ("frontier", usd(50)), ("max", usd(30)),
    ]  # fmt: skip


def test_every_tier_has_a_primary_and_a_fallback_of_another_provider_or_model() -> None:
    for tier in CONFIG.tiers:
        assert len(tier.deployments) == 2
        assert set(tier.deployments) <= set(CONFIG.deployments)


def test_every_deployment_has_its_provider_and_goes_by_its_name() -> None:
    for name, deployment in CONFIG.deployments.items():
        assert name == deployment.name == f"{deployment.provider}/{deployment.model}"
        assert deployment.provider in CONFIG.providers


@pytest.mark.parametrize(
    "written",
    [
        "groq/llama-3.1-8b-instant",
        "google/gemini-2.5-flash",
        "google/gemini-2.5-flash-lite",
        "anthropic/claude-sonnet-4-5-20250514",
        "anthropic/claude-opus-4-6-20250801",
        "meta-llama/Llama-3-70b-chat-hf",
        "meta-llama/Llama-3-8b-chat-hf",
    ],
)
def test_the_names_that_people_write_lead_to_one_deployment(written: str) -> None:
    assert len(candidates(written, CONFIG.tiers, CONFIG.deployments, CONFIG.aliases)) == 1


def test_providers_are_reached_over_tls_with_a_key_from_the_environment() -> None:
    for provider in CONFIG.providers.values():
        assert provider.base_url.startswith("https://")
        assert provider.api_key_env.endswith("_API_KEY")


def test_a_provider_can_be_reached_elsewhere() -> None:
    config = default_config(
        base_urls={"groq": "http://127.0.0.1:1"}, invoice_urls={"groq": "http://127.0.0.1:1/i"}
    )
    assert config.providers["groq"].base_url == "http://127.0.0.1:1"
    assert config.providers["groq"].invoice_url == "http://127.0.0.1:1/i"
    assert config.providers["openai"] == CONFIG.providers["openai"]


def test_the_factory_has_a_daily_and_a_monthly_limit() -> None:
    assert default_limits() == {("global", Period.DAY): usd(200), ("global", Period.MONTH): usd(3_000)}
