"""JSON between our own parts, quickly: pydantic's encoder, and Python's for what that refuses.

What providers and clients write is read by gateway.providers.wire_json.
"""

import json
from collections.abc import Callable
from typing import Any

from pydantic_core import PydanticSerializationError, from_json, to_json


def dumps(value: Any, *, default: Callable[[Any], Any] | None = None) -> str:
    """As json.dumps without spaces; text stands in it unescaped, but for halves of surrogate pairs."""
    try:
        return to_json(value, inf_nan_mode="constants", fallback=default).decode()
    except PydanticSerializationError:
        return json.dumps(value, separators=(",", ":"), default=default)


def loads(text: str) -> Any:
    """As json.loads."""
    try:
        return from_json(text)
    except ValueError:
        return json.loads(text)
