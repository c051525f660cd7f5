"""Embeddings: vectors of words, so that texts with the same words lie near each other.

A word is a direction of its own, which follows from its letters; a text the sum of its words, of length
one. What is billed is the input, four characters or one token id each.
"""

import base64
import hashlib
import math
import random
import re
import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from gateway.providers.simulator.asked import Asked, Block, InvalidRequest, Json, count

_DIMENSIONS = {"text-embedding-3-large": 3072}
_USUAL_DIMENSIONS = 1536
_MOST_DIMENSIONS = 3072
_DIRECTIONS = 64  # of each vector, as many numbers are not zero for one word


def read_embeddings(body: Json) -> Asked:
    """Read a request to /v1/embeddings. Raises InvalidRequest."""
    if not isinstance(body.get("model"), str):
        raise InvalidRequest("model: Field required, a str")
    texts = _texts(body.get("input"))
    wanted = body.get("dimensions")
    if wanted is not None and not (type(wanted) is int and 1 <= wanted <= _MOST_DIMENSIONS):
        raise InvalidRequest(f"dimensions: a whole number from 1 to {_MOST_DIMENSIONS}")
    return Asked(
        wire="openai",
        model=body["model"],
        turns=(),
        tools=(),
        blocks=tuple(Block(text.encode(), tokens) for text, tokens in texts),
        max_tokens=None,
        stream=False,
        include_usage=True,
        n=1,
        passed={name: body[name] for name in ("encoding_format", "dimensions") if body.get(name)},
    )


def answer(asked: Asked, model: str, *, usage: bool) -> dict[str, Any]:
    """The answer's document."""
    dimensions = int(asked.passed.get("dimensions") or _DIMENSIONS.get(model, _USUAL_DIMENSIONS))
    packed = asked.passed.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": _written(block.canonical, dimensions, packed)}
        for index, block in enumerate(asked.blocks)
    ]
    document: dict[str, Any] = {"object": "list", "data": data, "model": asked.model}
    tokens = asked.prompt_tokens
    return document | ({"usage": {"prompt_tokens": tokens, "total_tokens": tokens}} if usage else {})


def _texts(given: Any) -> list[tuple[str, int]]:
    """Each input as text, with its tokens; token ids are words of their own."""
    if isinstance(given, str) or _are_tokens(given):
        given = [given]
    if not isinstance(given, list) or not given or not all(given):
        raise InvalidRequest("input: a non-empty string or array is required")
    found = []
    for each in given:
        if isinstance(each, str):
            found.append((each, count(each)))
        elif _are_tokens(each):
            found.append((" ".join(map(str, each)), len(each)))
        else:
            raise InvalidRequest("input: strings, or arrays of token ids")
    return found


def _are_tokens(given: Any) -> bool:
    return isinstance(given, list) and bool(given) and all(type(each) is int for each in given)


def _written(text: bytes, dimensions: int, packed: bool) -> str | list[float]:
    vector = _vector(text.decode(), dimensions)
    return base64.b64encode(struct.pack(f"<{dimensions}f", *vector)).decode() if packed else vector


def _vector(text: str, dimensions: int) -> list[float]:
    numbers = [0.0] * dimensions
    for word in re.findall(r"\w+", text.lower()) or [text]:
        for place, weight in _direction(word, dimensions):
            numbers[place] += weight
    length = math.sqrt(sum(number * number for number in numbers)) or 1.0
    return [round(number / length, 7) for number in numbers]


@lru_cache(maxsize=10_000)
def _direction(word: str, dimensions: int) -> Sequence[tuple[int, float]]:
    chance = random.Random(hashlib.blake2b(word.encode(), digest_size=16).hexdigest())
    places = [chance.randrange(dimensions) for _ in range(min(_DIRECTIONS, dimensions))]
    return tuple((place, chance.gauss(0, 1)) for place in places)
