"""What comes back from a provider: the answer, and how far a request has got so far."""

import math
from dataclasses import dataclass, field
from typing import Any

from gateway.calls import Message
from gateway.policy.usage import Usage

CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class ProviderAnswer:
    """A complete answer.

    message: the first choice; alternatives: the others where n > 1. finish_reason: stop, length,
    tool_calls, content_filter or other. usage: None when the provider's counts are missing or make
    no sense; provider_usage is what it sent, as it sent it. Times are Unix milliseconds. document: the
    answer as it came, where it was not streamed.
    """

    message: Message
    finish_reason: str
    usage: Usage | None
    provider_usage: dict[str, Any]
    provider_request_id: str
    first_token_ms: int | None
    done_ms: int
    alternatives: tuple[Message, ...] = ()
    document: bytes = b""


@dataclass(frozen=True, slots=True)
class Partial:
    """What had been received of an answer that never became complete.

    output_tokens_seen: the provider's own count so far, else an estimate of four characters a token.
    """

    text_characters: int = 0
    output_tokens_seen: int = 0
    usage: Usage | None = None


@dataclass(slots=True)
class Progress:
    """How far one attempt has got; send() keeps it up to date, so that it survives cancellation.

    sent: the request's first byte may have left. text_characters: received so far, with reasoning
    and tool arguments. usage: reported so far (Anthropic reports input first); output counts in it
    are provisional until the answer is complete.
    """

    sent: bool = False
    text_characters: int = 0
    first_token_ms: int | None = None
    usage: Usage | None = None
    provider_request_id: str = ""
    provider_usage: dict[str, Any] = field(default_factory=dict)

    def partial(self) -> Partial:
        """Freeze what has been received so far."""
        reported = self.usage.output_tokens if self.usage else 0
        estimated = math.ceil(self.text_characters / CHARACTERS_PER_TOKEN)
        return Partial(self.text_characters, max(reported, estimated), self.usage)
