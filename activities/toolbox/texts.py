"""What tools return, as text of bounded size that every store can keep."""

from collections.abc import Mapping

from pydantic_core import to_json

MAX_RESULT_BYTES = 64_000
_MAX_ERROR_CHARACTERS = 2_000
_MAX_ARGUMENT_CHARACTERS = 80
_MAX_CALL_CHARACTERS = 400


def as_text(value: object) -> str:
    """Text as it is; nothing as a note; all else as JSON (what JSON does not know, as its str)."""
    if isinstance(value, str):
        return value
    if value is None:
        return "(done; no result)"
    return to_json(value, fallback=str, bytes_mode="base64", inf_nan_mode="constants").decode()


def bounded(text: str, limit_bytes: int = MAX_RESULT_BYTES) -> str:
    """At most `limit_bytes` of UTF-8, and a note of how much was cut.

    NUL and lone surrogates are replaced: PostgreSQL cannot keep them.
    """
    data = text.replace("\x00", "\ufffd").encode("utf-8", "replace")
    if len(data) <= limit_bytes:
        return data.decode()
    kept = data[:limit_bytes].decode("utf-8", "ignore")
    cut = len(data) - len(kept.encode())
    return f"{kept}\n[cut here: {cut:,} more bytes of {len(data):,}]"


def error_text(error: BaseException) -> str:
    """Kind and message of an exception, bounded."""
    message = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return bounded(message, _MAX_ERROR_CHARACTERS)


def call_text(name: str, values: Mapping[str, object]) -> str:
    """`name(a=1, b='…')`, each value and the whole bounded."""
    inside = ", ".join(f"{key}={_short(value, _MAX_ARGUMENT_CHARACTERS)}" for key, value in values.items())
    return bounded(f"{name}({_cut(inside, _MAX_CALL_CHARACTERS)})")


def _short(value: object, characters: int) -> str:
    if isinstance(value, str) and len(value) > characters:
        return f"{value[:characters]!r}… ({len(value):,} characters)"
    return _cut(repr(value), characters)


def _cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else text[:characters] + "…"
