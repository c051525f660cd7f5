"""From a function's signature to the JSON Schema a model sees, and back from JSON to arguments."""

import inspect
import json
import types
from collections.abc import Mapping
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import PydanticUndefined

from activities.toolbox.context import ToolContext
from activities.toolbox.docstrings import describe
from activities.toolbox.errors import ArgumentsError
from activities.toolbox.marks import ToolFunction
from gateway.errors import ConfigurationError

_SHOWN_ERRORS = 5
_SHOWN_INPUT_CHARACTERS = 80


class Signature:
    """The parameters of one function: their schema, and the way from JSON to a call.

    Raises ConfigurationError if the function has parameters that no JSON object can fill.
    """

    def __init__(self, function: ToolFunction, label: str) -> None:
        self.description = describe(function)
        self._label = label
        hints = _hints(function, label)
        parameters = _parameters(function, label)
        self._context = next((name for name in parameters if _is_context(hints.get(name))), "")
        asked = {name: item for name, item in parameters.items() if name != self._context}
        self._positional = [n for n, p in parameters.items() if p.kind is p.POSITIONAL_ONLY]
        # Fields are numbered, so that parameters may be called `schema`, `copy` or `_x`.
        self._fields = {f"p{i}": name for i, name in enumerate(asked)}
        self._model = self._build(asked, hints)

    @property
    def names(self) -> frozenset[str]:
        """Names of the parameters that the model fills."""
        return frozenset(self._fields.values())

    def schema(self) -> dict[str, object]:
        """The JSON Schema object of the arguments."""
        try:
            schema = self._model.model_json_schema(by_alias=True, schema_generator=_Untitled)
        except PydanticUserError as error:
            raise ConfigurationError(f"{self._label} cannot be described in JSON Schema: {error}") from error
        schema.pop("title", None)
        schema.setdefault("properties", {})
        return schema

    def parse(self, arguments: str) -> dict[str, object]:
        """Arguments by parameter name from the JSON text of a model. Raises ArgumentsError."""
        try:
            model = self._model.model_validate_json(arguments.strip() or "{}")
        except ValidationError as error:
            raise ArgumentsError(_readable(error)) from error
        return {name: getattr(model, number) for number, name in self._fields.items()}

    def bind(
        self, values: Mapping[str, object], context: ToolContext
    ) -> tuple[list[object], dict[str, object]]:
        """Positional and keyword arguments of the call."""
        given = {**values, **({self._context: context} if self._context else {})}
        positional = [given.pop(name) for name in self._positional]
        return positional, given

    def _build(self, asked: dict[str, inspect.Parameter], hints: dict[str, Any]) -> type[BaseModel]:
        fields: dict[str, Any] = {
            f"p{i}": (hints.get(name, Any), self._field(parameter))
            for i, (name, parameter) in enumerate(asked.items())
        }
        config = ConfigDict(extra="forbid", arbitrary_types_allowed=False)
        try:
            return create_model("Arguments", __config__=config, **fields)
        except (PydanticUserError, TypeError) as error:
            raise ConfigurationError(f"{self._label} has a parameter no JSON can fill: {error}") from error

    def _field(self, parameter: inspect.Parameter) -> FieldInfo:
        default: Any = PydanticUndefined if parameter.default is parameter.empty else parameter.default
        text = self.description.arguments.get(parameter.name)
        field: FieldInfo = Field(default=default, alias=parameter.name, description=text)
        return field


class _Untitled(GenerateJsonSchema):
    """Leaves out the titles that pydantic makes from names: the model would pay for them."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def parse_object(arguments: str) -> dict[str, object]:
    """A JSON object from a model's text. Raises ArgumentsError."""
    try:
        value = json.loads(arguments.strip() or "{}")
    except (ValueError, RecursionError) as error:
        raise ArgumentsError(f"The arguments are not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise ArgumentsError(f"The arguments must be a JSON object, not {type(value).__name__}")
    return value


def _hints(function: ToolFunction, label: str) -> dict[str, Any]:
    target = function if inspect.isroutine(function) else type(function).__call__
    try:
        return get_type_hints(target, include_extras=True)
    except (NameError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"The type hints of {label} cannot be resolved: {error}") from error


def _parameters(function: ToolFunction, label: str) -> dict[str, inspect.Parameter]:
    try:
        parameters = dict(inspect.signature(function).parameters)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{label} has no signature to read: {error}") from error
    for name, parameter in parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise ConfigurationError(f"{label} takes *{name}, which cannot be described to a model; name it")
    return parameters


def _is_context(hint: Any) -> bool:
    """Whether a hint is ToolContext, also as `ToolContext | None` or Annotated."""
    if get_origin(hint) is Annotated:
        return _is_context(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        return any(map(_is_context, get_args(hint)))
    return hint is ToolContext


def _readable(error: ValidationError) -> str:
    """What is wrong with the arguments, for a model to read and do better."""
    problems = error.errors(include_url=False, include_context=False)
    lines = [_problem(problem["loc"], problem["msg"], problem["input"]) for problem in problems]
    more = len(lines) - _SHOWN_ERRORS
    shown = "; ".join(lines[:_SHOWN_ERRORS]) + (f"; and {more} more" if more > 0 else "")
    return f"The arguments are wrong: {shown}"


def _problem(location: tuple[int | str, ...], message: str, given: object) -> str:
    where = ".".join(map(str, location))
    if not where:
        return message
    shown = "" if isinstance(given, dict) else f" (given: {_short(given)})"
    return f"{where}: {message}{shown}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_INPUT_CHARACTERS else text[:_SHOWN_INPUT_CHARACTERS] + "…"
