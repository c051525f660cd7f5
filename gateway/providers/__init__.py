"""Wire formats and transports, one module per family.

base: the types that callers use. errors: what can go wrong, and what to do then. http: the pooled
client. openai, anthropic: the two families. simulator: a real HTTP server that speaks both and
bills; it shares nothing with the rest, so this module imports the families only when asked for.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.config import FamilyName
    from gateway.providers.base import Family

__all__ = ["family"]


def family(name: "FamilyName") -> "Family":
    """Return the family that speaks this wire format."""
    if name == "anthropic":
        from gateway.providers.anthropic import AnthropicMessages

        return AnthropicMessages()
    from gateway.providers.openai import OpenAIChat

    return OpenAIChat()
