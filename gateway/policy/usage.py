"""Tokens of one attempt, by the kinds that have prices of their own."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts exactly as the provider reported them, normalised so that kinds do not overlap.

    input_tokens excludes cache reads and writes; output_tokens includes reasoning_tokens
    (which are billed as output by every provider configured, and are kept for the record).
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def prompt_tokens(self) -> int:
        """All tokens that went in, whatever they were billed at: what tiered prices look at."""
        return self.input_tokens + self.cache_read_tokens + self.cache_write_tokens
