"""The providers' own usage and cost APIs: sums by model and stretch of time, read with an admin key.

pages: asking page after page, patiently. openai, anthropic: what each says.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.config import Provider
    from gateway.usage import BucketSource

__all__ = ["usage_api"]


def usage_api(provider: "Provider") -> "BucketSource | None":
    """The usage API of a provider; None where none is configured, or no key for it is there."""
    from gateway.providers.usage_apis.pages import usage_key

    if not provider.usage_api or not usage_key(provider):
        return None
    if provider.usage_api == "anthropic":
        from gateway.providers.usage_apis.anthropic import AnthropicUsage

        return AnthropicUsage(provider)
    from gateway.providers.usage_apis.openai import OpenAIUsage

    return OpenAIUsage(provider)
