"""Wire formats and transports, one module per family.

base: the types that callers use. errors: what can go wrong, and what to do then. http: the pooled
client. openai, anthropic: the two families; openai_responses, openai_embeddings: OpenAI's other APIs,
which requests pass on to as they are. simulator: a real HTTP server that speaks all of them and
bills; it shares nothing with the rest, so this module imports the families only when asked for.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.config import Api, FamilyName
    from gateway.providers.base import Family

__all__ = ["family"]


def family(name: "FamilyName", api: "Api" = "chat") -> "Family":
    """Return the family that speaks this wire format."""
    if name == "anthropic":
        from gateway.providers.anthropic import AnthropicMessages

        return AnthropicMessages()
    if api == "responses":
        from gateway.providers.openai_responses import OpenAIResponses

        return OpenAIResponses()
    if api == "embeddings":
        from gateway.providers.openai_embeddings import OpenAIEmbeddings

        return OpenAIEmbeddings()
    from gateway.providers.openai import OpenAIChat

    return OpenAIChat()
