"""JSON as providers write it, read into text that can be stored and sent on."""

import json
import re
from collections.abc import Callable
from typing import Any

_HALVES = re.compile(r"\\u[dD][89a-fA-F]")


def loads(
    text: str | bytes,
    *,
    parse_constant: Callable[[str], Any] | None = None,
    parse_float: Callable[[str], Any] | None = None,
) -> Any:
    """Like json.loads, but half a surrogate pair, which no encoding can carry, becomes U+FFFD.

    Providers that cut a text in the middle of an emoji write such halves. Raises ValueError.
    """
    text = text.decode("utf-8") if isinstance(text, bytes) else text
    value = json.loads(text, parse_constant=parse_constant, parse_float=parse_float)
    return _whole(value) if _HALVES.search(text) else value


def dumps(value: Any) -> bytes:
    """JSON in UTF-8 without spaces. Raises ValueError for NaN, and for what is nested too deeply."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_whole(key): _whole(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_whole(inner) for inner in value]
    return value
