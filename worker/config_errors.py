"""Errors of curb.yaml: the file, the line, the field, and what to write instead."""

import difflib
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gateway.errors import ConfigurationError
from worker.yaml_lines import Document

Path = tuple[str | int, ...]
_SHOWN = 20
_REMEDIES = {  # pydantic's words for these are Python's
    "tuple_type": "write a list, for example [a, b]",
    "dict_type": "write a mapping of fields",
    "model_type": "write a mapping of fields",
    "string_type": "write text",
    "bool_type": "write true or false",
    "bool_parsing": "write true or false",
    "int_type": "write a whole number",
    "int_parsing": "write a whole number",
    "int_from_float": "write a whole number",
    "float_type": "write a number",
    "float_parsing": "write a number",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and where."""

    path: Path
    message: str


class ConfigurationProblems(ConfigurationError):
    """Everything that is wrong with a configuration file, one line each."""

    def __init__(self, document: Document, problems: Sequence[Problem]) -> None:
        placed = sorted(
            ((document.line(each.path) or 0, each) for each in problems), key=lambda pair: pair[0]
        )
        lines = [_described(document.name, line, problem) for line, problem in placed[:_SHOWN]]
        if len(placed) > _SHOWN:
            lines.append(f"... and {len(placed) - _SHOWN} more")
        super().__init__("\n".join(lines))


def problems_of(error: ValidationError, model: type[BaseModel]) -> list[Problem]:
    """Translate pydantic's findings about `model`."""
    return [_problem(each, model) for each in error.errors(include_url=False)]


def suggestion(written: str, known: Sequence[str]) -> str:
    """`; did you mean X?` where something known is near, else the list of what there is."""
    near = difflib.get_close_matches(written, known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; there are: {', '.join(known) or 'none'}"


def _described(name: str, line: int, problem: Problem) -> str:
    place = f"{name}:{line}" if line else name
    return f"{place}: {dotted(problem.path)}: {problem.message}"


def dotted(path: Path) -> str:
    """`agents.coder.tools[0]`: a path as people write it."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text or "the file"


def _problem(detail: ErrorDetails, model: type[BaseModel]) -> Problem:
    path = tuple(step for step in detail["loc"] if step != "[key]")
    if detail["type"] == "extra_forbidden":
        return Problem(path, _unknown_field(path, model))
    if detail["type"] == "missing":
        return Problem(path, "is missing; add it")
    message = _REMEDIES.get(detail["type"]) or detail["msg"].removeprefix("Value error, ")
    given = detail["input"]
    shown = f" (it is {given!r})" if isinstance(given, str | int) and str(given) not in message else ""
    if given is None:
        shown = " (nothing is written here; remove the line to keep the default)"
    return Problem(path, f"{message[:1].lower()}{message[1:]}{shown}")


def _unknown_field(path: Path, model: type[BaseModel]) -> str:
    name = str(path[-1])
    if name in ("api_key", "key", "token"):
        return "keys never stand in this file; write api_key_env with the name of the variable that holds it"
    section = _model_at(model, path[:-1])
    return "no such field" + suggestion(name, sorted(section.model_fields) if section else [])


def _model_at(model: type[BaseModel], path: Path) -> type[BaseModel] | None:
    """The model of the section that a path leads to."""
    kind: object = model
    for step in path:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            field = kind.model_fields.get(str(step))
            kind = field.annotation if field else None
        else:
            kind = _element(kind)
    found = _plain(kind)
    return found if isinstance(found, type) and issubclass(found, BaseModel) else None


def _element(kind: object) -> object:
    """What a dict's values or a tuple's items are."""
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) is dict:
        return _plain(arguments[1])
    return _plain(arguments[0]) if arguments else None


def _plain(kind: object) -> object:
    """A union's model, else the type as it is."""
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        models = [each for each in typing.get_args(kind) if isinstance(each, type)]
        return next((each for each in models if issubclass(each, BaseModel)), None)
    return kind
