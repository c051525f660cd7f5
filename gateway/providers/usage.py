"""Token counts as providers report them, normalised so that kinds do not overlap.

Counts are taken as they are or not at all: what is missing, negative, fractional, absurd or
contradicts itself gives None, and the caller books the attempt as in doubt.
"""

from collections.abc import Mapping
from typing import Any

from gateway.policy.usage import Usage

_MOST_TOKENS = 2**31 - 1


def openai_usage(reported: Mapping[str, Any]) -> Usage | None:
    """prompt_tokens include cached ones; completion_tokens include reasoning ones.

    Gemini and Grok leave reasoning out of completion_tokens and have it in total_tokens only:
    whatever total_tokens has beyond prompt and completion was generated, and is billed as output.
    """
    prompt, completion = _count(reported, "prompt_tokens"), _count(reported, "completion_tokens", 0)
    cached = _count(_details(reported, "prompt_tokens_details"), "cached_tokens", 0)
    reasoning = _count(_details(reported, "completion_tokens_details"), "reasoning_tokens", 0)
    if prompt is None or completion is None or cached is None or reasoning is None or cached > prompt:
        return None
    total = _count(reported, "total_tokens", prompt + completion)
    if total is None:
        return None
    if "completion_tokens" not in reported and "total_tokens" not in reported:
        return None
    hidden = max(total - prompt - completion, 0)
    output = completion + hidden
    if reasoning > output:
        return None
    return Usage(prompt - cached, output, cached, 0, max(reasoning, hidden))


def responses_usage(reported: Mapping[str, Any]) -> Usage | None:
    """input_tokens include cached ones; output_tokens include reasoning ones."""
    prompt, output = _count(reported, "input_tokens"), _count(reported, "output_tokens")
    cached = _count(_details(reported, "input_tokens_details"), "cached_tokens", 0)
    reasoning = _count(_details(reported, "output_tokens_details"), "reasoning_tokens", 0)
    if prompt is None or output is None or cached is None or reasoning is None:
        return None
    if cached > prompt or reasoning > output:
        return None
    return Usage(prompt - cached, output, cached, 0, reasoning)


def anthropic_usage(reported: Mapping[str, Any]) -> Usage | None:
    """input_tokens exclude cache reads and writes; thinking is part of output_tokens."""
    fresh, output = _count(reported, "input_tokens"), _count(reported, "output_tokens")
    read = _count(reported, "cache_read_input_tokens", 0)
    written = _count(reported, "cache_creation_input_tokens", 0)
    if fresh is None or output is None or read is None or written is None:
        return None
    return Usage(fresh, output, read, written)


def _count(reported: Mapping[str, Any], name: str, default: int | None = None) -> int | None:
    """A token count; the default where it is absent or null, None where it is no count."""
    value = reported.get(name)
    if value is None:
        return default
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS
    return value if is_count else None


def _details(reported: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    details = reported.get(name)
    return details if isinstance(details, Mapping) else {}
