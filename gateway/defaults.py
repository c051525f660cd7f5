"""The configuration that curb has before anybody configures it: REQUIREMENTS 1 and 5."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from gateway.config import Deployment, GatewayConfig, Provider, Tier
from gateway.policy.money import NanoUsd, usd
from gateway.policy.scopes import Period


def default_config(
    *,
    base_urls: Mapping[str, str] | None = None,
    invoice_urls: Mapping[str, str] | None = None,
    prices_overlay: Sequence[Mapping[str, object]] = (),
) -> GatewayConfig:
    """Build the four tiers over five providers, cheapest tier first.

    base_urls, invoice_urls: by provider name, instead of the providers' own (a proxy, the
    simulator). prices_overlay: as gateway.overlay describes.
    """
    providers = {
        each.name: replace(
            each,
            base_url=(base_urls or {}).get(each.name, each.base_url),
            invoice_url=(invoice_urls or {}).get(each.name, each.invoice_url),
        )
        for each in default_providers()
    }
    return GatewayConfig(
        providers=providers,
        deployments={each.name: each for each in default_deployments()},
        tiers=default_tiers(),
        prices_overlay=tuple(dict(entry) for entry in prices_overlay),
        aliases=default_aliases(),
    )


def default_limits() -> dict[tuple[str, Period], NanoUsd]:
    """Return the budgets that hold unless configured otherwise, by scope and period."""
    return {("global", Period.DAY): usd(200), ("global", Period.MONTH): usd(3_000)}


def default_tiers() -> tuple[Tier, ...]:
    """Return the tiers: deployments in order of preference, what a day may cost (soft), and how much an
    answer is given room for whose caller sets no limit (models that reason aloud need most of it)."""
    return (
        Tier("quick", ("groq/llama-3.1-8b-instant", "google/gemini-2.5-flash-lite"), usd(5), 2_048),
        Tier("balanced", ("google/gemini-2.5-flash", "openai/gpt-5-mini"), usd(20), 4_096),
        Tier("frontier", ("anthropic/claude-sonnet-4-5", "google/gemini-2.5-pro"), usd(50), 8_192),
        Tier("max", ("anthropic/claude-opus-4-6", "openai/gpt-5.2"), usd(30), 8_192),
    )


def default_providers() -> tuple[Provider, ...]:
    """Return where requests go and which environment variable holds the key."""
    return (
        Provider(
            "anthropic",
            "anthropic",
            "https://api.anthropic.com",
            "ANTHROPIC_API_KEY",
            usage_api="anthropic",
            usage_url="https://api.anthropic.com",
            usage_key_env="ANTHROPIC_ADMIN_KEY",
            batches=True,
        ),
        Provider(
            "openai",
            "openai",
            "https://api.openai.com/v1",
            "OPENAI_API_KEY",
            usage_api="openai",
            usage_url="https://api.openai.com/v1",
            usage_key_env="OPENAI_ADMIN_KEY",
            responses=True,
            batches=True,
        ),
        Provider(
            "google",
            "openai",
            "https://generativelanguage.googleapis.com/v1beta/openai",
            "GEMINI_API_KEY",
        ),
        Provider("groq", "openai", "https://api.groq.com/openai/v1", "GROQ_API_KEY"),
        Provider("together", "openai", "https://api.together.xyz/v1", "TOGETHER_API_KEY"),
    )


def default_deployments() -> tuple[Deployment, ...]:
    """Return the models of the tiers, the two that Together serves, and those for embeddings.

    overhead_tokens covers what a provider puts around the request (Anthropic adds up to 346 tokens of
    tool instructions, Llama's chat template a system header). tokens_per_image is the most that
    the provider counts for one: Anthropic scales images to about 1,600 tokens, gpt-5-mini counts
    1,536 patches times 1.62. Where the most is not documented there is none, and images are refused.
    """
    return (
        _deployment("groq/llama-3.1-8b-instant", max_output=8_192, overhead=256, window=131_072),
        _deployment("google/gemini-2.5-flash-lite", max_output=65_536, overhead=256, window=1_048_576),
        _deployment("google/gemini-2.5-flash", max_output=65_536, overhead=256, window=1_048_576),
        _deployment("google/gemini-2.5-pro", max_output=65_536, overhead=256, window=1_048_576),
        _openai("openai/gpt-5-mini", tokens_per_image=2_500),
        _openai("openai/gpt-5.2"),
        _deployment(
            "anthropic/claude-sonnet-4-5", max_output=64_000, overhead=512, image=1_700, window=200_000
        ),
        _deployment(
            "anthropic/claude-opus-4-6", max_output=128_000, overhead=512, image=1_700, window=200_000
        ),
        _deployment("together/meta-llama/Llama-3-70b-chat-hf", max_output=4_096, overhead=256, window=8_192),
        _deployment("together/meta-llama/Llama-3-8b-chat-hf", max_output=4_096, overhead=256, window=8_192),
        _embedding("openai/text-embedding-3-small"),
        _embedding("openai/text-embedding-3-large"),
    )


def default_aliases() -> dict[str, str]:
    """Return the names that people write, by the deployment that each stands for.

    The dated Anthropic names lead to the undated models, which are what the provider serves.
    """
    return {
        "anthropic/claude-sonnet-4-5-20250514": "anthropic/claude-sonnet-4-5",
        "anthropic/claude-opus-4-6-20250801": "anthropic/claude-opus-4-6",
        "meta-llama/Llama-3-70b-chat-hf": "together/meta-llama/Llama-3-70b-chat-hf",
        "meta-llama/Llama-3-8b-chat-hf": "together/meta-llama/Llama-3-8b-chat-hf",
    }


def _deployment(
    name: str, *, max_output: int, overhead: int, window: int, image: int | None = None
) -> Deployment:
    provider, _, model = name.partition("/")
    return Deployment(
        name,
        provider,
        model,
        max_output_tokens=max_output,
        tokens_per_image=image,
        overhead_tokens=overhead,
        context_window_tokens=window,
    )


def _embedding(name: str) -> Deployment:
    provider, _, model = name.partition("/")
    return Deployment(name, provider, model, kind="embedding")


def _openai(name: str, *, tokens_per_image: int | None = None) -> Deployment:
    plain = _deployment(name, max_output=128_000, overhead=256, window=400_000, image=tokens_per_image)
    return replace(plain, max_tokens_field="max_completion_tokens")
