"""Errors of curb.yaml: the file, the line, the field, and what to write instead."""

import difflib
import re
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import AliasChoices, BaseModel, ValidationError
from pydantic.fields import FieldInfo
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
    "model_attributes_type": "write a mapping of fields",
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
    place = _place(detail["loc"], model)
    path, kind = place.path, detail["type"]
    if kind == "extra_forbidden":
        return Problem(path, _unknown_field(str(path[-1]), place.section))
    if kind == "missing":
        return Problem(path, "is missing; add it")
    if kind.startswith("union_tag_"):
        return _untold_kind(path, detail)
    message = _REMEDIES.get(kind) or detail["msg"].removeprefix("Value error, ")
    shown = _shown(detail["input"], message) if not place.secret or detail["input"] is None else ""
    return Problem(path, f"{message[:1].lower()}{message[1:]}{shown}")


def _shown(given: object, message: str) -> str:
    """What stands in the file, where that is short and not said already."""
    if given is None:
        return " (nothing is written here; remove the line to keep the default)"
    return f" (it is {given!r})" if isinstance(given, str | int) and str(given) not in message else ""


def _unknown_field(name: str, section: type[BaseModel] | None) -> str:
    fields = section.model_fields if section else {}
    held = name if f"{name}_env" in fields else "api_key" if name in ("api_key", "key", "token") else ""
    if held:
        return f"keys never stand in this file; write {held}_env with the name of the variable that holds it"
    return "no such field" + suggestion(name, sorted(_written_as(*each) for each in fields.items()))


def _untold_kind(path: Path, detail: ErrorDetails) -> Problem:
    """A section of which nothing says, or nothing known, what kind it is."""
    context = detail.get("ctx", {})
    field, tag = str(context.get("discriminator", "")).strip("'"), context.get("tag")
    known = re.findall(r"'([^']+)'", str(context.get("expected_tags", "")))
    if tag is None:
        return Problem((*path, field), "is missing; add it")
    return Problem((*path, field), f"there is no {field} of that name{suggestion(str(tag), known)}")


@dataclass(frozen=True, slots=True)
class _Place:
    """A path as it stands in the file, the section that its last step belongs to, and whether what stands
    there must not be shown."""

    path: Path
    section: type[BaseModel] | None
    secret: bool


def _place(location: tuple[str | int, ...], model: type[BaseModel]) -> _Place:
    kind: object = model
    path: Path = ()
    section: type[BaseModel] | None = None
    for step in location:
        if step == "[key]":
            continue
        if (tagged := _tagged(kind, step)) is not None:
            kind = tagged
            continue
        section, path = _model(kind), (*path, step)
        field = section.model_fields.get(str(step)) if section else None
        kind = _element(kind) if section is None else _whole(field)
    return _Place(path, section, any(_is_secret(each) for each in (section, *_models(kind))))


def _whole(field: FieldInfo | None) -> object:
    return field.annotation if field else None


def _element(kind: object) -> object:
    """What a dict's values or a tuple's items are."""
    kind = _bare(kind)
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) is dict:
        return _bare(arguments[1])
    return _bare(arguments[0]) if arguments else None


def _models(kind: object) -> list[type[BaseModel]]:
    """The models that a type names, in a union, a dict or a tuple too."""
    kind = _bare(kind)
    if isinstance(kind, type) and typing.get_origin(kind) is None:
        return [kind] if issubclass(kind, BaseModel) else []
    return [model for each in typing.get_args(kind) for model in _models(each)]


def _model(kind: object) -> type[BaseModel] | None:
    """The type itself, or the model of a union that has one."""
    kind = _bare(kind)
    if typing.get_origin(kind) in (dict, tuple, list):
        return None
    models = _models(kind)
    return models[0] if len(models) == 1 else None


def _tagged(kind: object, step: str | int) -> type[BaseModel] | None:
    """The member of a discriminated union that this step of a location stands for (it does not stand in
    the file)."""
    models = _models(kind) if _model(kind) is None and _is_union(_bare(kind)) else []
    for model in models:
        if any(step in typing.get_args(field.annotation) for field in model.model_fields.values()):
            return model
    return None


def _is_union(kind: object) -> bool:
    return isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union


def _bare(kind: object) -> object:
    """The type without its annotations."""
    return typing.get_args(kind)[0] if typing.get_origin(kind) is typing.Annotated else kind


def _is_secret(model: type[BaseModel] | None) -> bool:
    return bool(model and model.model_config.get("hide_input_in_errors"))


def _written_as(name: str, field: FieldInfo) -> str:
    """A field's name in the file."""
    alias = field.validation_alias
    return str(alias.choices[0]) if isinstance(alias, AliasChoices) else name
