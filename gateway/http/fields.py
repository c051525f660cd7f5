"""Reading a client's JSON with errors that name the field, and what is not read at all: no price, no call."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

from gateway.calls import Untranslatable
from gateway.errors import CurbError
from gateway.providers.wire_json import loads

Json = Mapping[str, Any]
MOST_ANSWERS = 128


class BadRequest(CurbError):
    """What a client sent cannot be done. field: which part of it, '' for the whole."""

    def __init__(self, message: str, field: str = "", *, status: int = 400, code: str = "") -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.reason = message
        self.field = field
        self.status = status
        self.code = code


class Hints:
    """The names of what a translation leaves out, each once, in order."""

    def __init__(self) -> None:
        self._names: dict[str, None] = {}

    def add(self, name: str) -> None:
        self._names[name] = None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._names)


def read_document(body: bytes) -> Json:
    """Parse a request's body. Raises BadRequest for what is no JSON object."""
    try:
        document = loads(body, parse_constant=_no_number, parse_float=_finite)
    except RecursionError:
        raise BadRequest("the body is nested too deeply") from None
    except ValueError:
        raise BadRequest("the body is no JSON in UTF-8, or has numbers that JSON has no word for") from None
    if not isinstance(document, dict):
        raise BadRequest("the body is no JSON object")
    return document


def _finite(written: str) -> float:
    value = float(written)
    return value if math.isfinite(value) else _no_number(written)


def _no_number(written: str) -> NoReturn:
    raise ValueError(f"{written} is no number of JSON")


def text(document: Json, name: str, *, path: str = "") -> str:
    """A text field that must be there."""
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise BadRequest("must be a text, and not an empty one", f"{path}{name}")
    return value


def words(part: Json, path: str) -> str:
    """The text of a content part, which may be empty."""
    value = part.get("text")
    if not isinstance(value, str):
        raise BadRequest("must be a text", f"{path}.text")
    return value


def maybe_text(document: Json, name: str, *, path: str = "") -> str:
    """A text; '' where it is absent or null."""
    value = document.get(name)
    if value is not None and not isinstance(value, str):
        raise BadRequest("must be a text", f"{path}{name}")
    return value or ""


def maybe_flag(document: Json, name: str, *, path: str = "") -> bool | None:
    """True or false; None where it is absent or null."""
    value = document.get(name)
    if value is not None and not isinstance(value, bool):
        raise BadRequest("must be true or false", f"{path}{name}")
    return value


def flag(document: Json, name: str, *, path: str = "") -> bool:
    """True or false; false where it is absent or null."""
    return bool(maybe_flag(document, name, path=path))


def whole(document: Json, name: str, *, most: int | None = None) -> int | None:
    """A whole number of 1 or more; None where it is absent or null."""
    value = document.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 1 or (most and value > most):
        raise BadRequest(f"must be a whole number from 1 to {most}" if most else "must be 1 or more", name)
    return value


def number(document: Json, name: str) -> float | None:
    """A number; None where it is absent or null."""
    value = document.get(name)
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or abs(value) > 1e9:
        raise BadRequest("must be a number", name)
    return float(value)


def mapping(value: object, path: str) -> dict[str, Any]:
    """An object. path: what errors call it."""
    if not isinstance(value, dict):
        raise BadRequest("must be an object", path)
    return value


def objects(value: object, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a list with their paths; none where the list is absent or null."""
    if value is None:
        return
    if not isinstance(value, list):
        raise BadRequest("must be a list", path)
    for index, item in enumerate(value):
        yield f"{path}[{index}]", mapping(item, f"{path}[{index}]")


def refuse_priced(document: Json, priced: Mapping[str, str]) -> None:
    """Refuse fields that make a call dearer than its tokens, or that nobody here can bound.

    priced: why, by field. Fields that are null, false or empty ask for nothing.
    """
    for name, why in priced.items():
        if document.get(name):
            raise BadRequest(f"{why}; leave it out", name, code="not_priced")


def only(document: Json, name: str, allowed: Sequence[object], why: str, *, path: str = "") -> None:
    """Refuse a field with any value but these (and null)."""
    value = document.get(name)
    if value is not None and value not in allowed:
        raise BadRequest(f"{why}; leave it out", f"{path}{name}", code="not_priced")


def known_only(value: Json, known: Sequence[str], path: str, family: str) -> None:
    """Raise Untranslatable for the first field that says something and is none of these."""
    for name, said in value.items():
        if name not in known and said is not None:
            raise untranslatable(f"{path}.{name}" if path else name, family)


def untranslatable(field: str, family: str, why: str = "") -> Untranslatable:
    """What this call needs is an answer from a deployment of another family."""
    because = f": {why}" if why else ""
    return Untranslatable(
        f"{field}: cannot be translated for {family}, which answers this model{because}; leave it out, or "
        "ask for a model of your client's own family"
    )
