"""The prompt cache: prefixes seen before, as the two families do it.

OpenAI's is automatic: over 1,024 tokens, in steps of 128. Anthropic's has breakpoints: what lies
before one is read if it was written before, and written if not. Entries live 5 minutes after use.
"""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable

from gateway.providers.simulator.asked import Asked, Block
from gateway.providers.simulator.prices import Tokens

_LEAST_TOKENS = 1024
_STEP_TOKENS = 128
_LOOK_BACK_BLOCKS = 20
_LIFETIME_SECONDS = 300.0
_MAX_ENTRIES = 100_000


class PromptCache:
    """Remembers prefixes by account and model; bounded, least recently used first out."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: OrderedDict[bytes, float] = OrderedDict()

    def tokens(self, asked: Asked, account: str, model: str, *, cached: bool) -> Tokens:
        """Divide the prompt into fresh, read and written tokens, and remember its prefixes.

        cached: whether the model has a prompt cache at all.
        """
        if not cached:
            return Tokens(input=asked.prompt_tokens)
        prefixes = _prefixes(asked.blocks, f"{account}\0{model}")
        if asked.wire == "anthropic":
            return self._explicit(asked, prefixes)
        return self._automatic(asked, prefixes)

    def _automatic(self, asked: Asked, prefixes: list[tuple[bytes, int]]) -> Tokens:
        common = max((tokens for key, tokens in prefixes if self._has(key)), default=0)
        for key, tokens in prefixes:
            if tokens >= _LEAST_TOKENS:
                self._keep(key)
        read = common // _STEP_TOKENS * _STEP_TOKENS
        return Tokens(input=asked.prompt_tokens - read, cache_read=read)

    def _explicit(self, asked: Asked, prefixes: list[tuple[bytes, int]]) -> Tokens:
        marks = [index for index, block in enumerate(asked.blocks) if block.breakpoint]
        read = max((self._longest(prefixes, mark) for mark in marks), default=0)
        written = max((prefixes[mark][1] for mark in marks), default=0)
        if written < _LEAST_TOKENS:
            return Tokens(input=asked.prompt_tokens)
        for mark in marks:
            if prefixes[mark][1] >= _LEAST_TOKENS:
                self._keep(prefixes[mark][0])
        return Tokens(input=asked.prompt_tokens - written, cache_read=read, cache_write=written - read)

    def _longest(self, prefixes: list[tuple[bytes, int]], mark: int) -> int:
        """The longest known prefix that ends at this breakpoint or at most 20 blocks before it."""
        for key, tokens in reversed(prefixes[max(mark - _LOOK_BACK_BLOCKS, 0) : mark + 1]):
            if self._has(key):
                return tokens
        return 0

    def _has(self, key: bytes) -> bool:
        until = self._seen.get(key)
        return until is not None and until > self._clock()

    def _keep(self, key: bytes) -> None:
        self._seen[key] = self._clock() + _LIFETIME_SECONDS
        self._seen.move_to_end(key)
        if len(self._seen) > _MAX_ENTRIES:
            self._seen.popitem(last=False)


def _prefixes(blocks: tuple[Block, ...], root: str) -> list[tuple[bytes, int]]:
    """For each block: the fingerprint of everything up to its end, and its tokens."""
    digest = hashlib.blake2b(root.encode(), digest_size=16)
    total = 0
    prefixes = []
    for block in blocks:
        digest.update(block.canonical)
        total += block.tokens
        prefixes.append((digest.digest(), total))
    return prefixes
