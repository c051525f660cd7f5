"""A tool's schema comes from its type hints and its docstring."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from activities.toolbox import ArgumentsError, Tool, Toolbox, ToolContext, tool
from gateway.errors import ConfigurationError


class Place(BaseModel):
    city: str
    zip_code: str = ""


def _tool(function: Callable[..., Any]) -> Tool:
    return Toolbox().add(function)


def search(query: str, context: ToolContext, limit: int = 10, kind: Literal["web", "news"] = "web") -> str:
    """Search the world.

    Finds what there is.

    Args:
        query: What to look for,
            in plain words.
        limit (int): At most so many.

    Returns:
        Text.
    """
    return f"{context.run_id} {query} {limit} {kind}"


def test_schema_has_types_defaults_and_descriptions_but_not_the_context() -> None:
    assert _tool(search).spec.input_schema == {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "query": {"type": "string", "description": "What to look for, in plain words."},
            "limit": {"type": "integer", "default": 10, "description": "At most so many."},
            "kind": {"type": "string", "enum": ["web", "news"], "default": "web"},
        },
        "required": ["query"],
    }


def test_description_is_the_docstring_before_its_sections() -> None:
    assert _tool(search).spec.description == "Search the world.\n\nFinds what there is."


def test_a_function_without_docstring_or_hints_takes_anything() -> None:
    def plain(value):  # type: ignore[no-untyped-def]
        return value

    made = _tool(plain)

    assert made.spec.description == ""
    assert made.parse('{"value": [1, "a"]}') == {"value": [1, "a"]}


def test_arguments_become_the_types_of_the_hints() -> None:
    def visit(place: Place, days: Annotated[int, Field(gt=0)]) -> str:
        return f"{place} {days}"

    assert _tool(visit).parse('{"place": {"city": "Graz"}, "days": "3"}') == {
        "place": Place(city="Graz"),
        "days": 3,
    }


def test_parameters_may_have_the_names_of_model_attributes() -> None:
    def odd(schema: str, copy: str, _hidden: str, model_config: str) -> str:
        return schema + copy + _hidden + model_config

    parsed = _tool(odd).parse('{"schema": "a", "copy": "b", "_hidden": "c", "model_config": "d"}')

    assert parsed == {"schema": "a", "copy": "b", "_hidden": "c", "model_config": "d"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ('{"query": "x", "limit": "many"}', "limit: Input should be a valid integer"),
        ("{}", "query: Field required"),
        ('{"query": "x", "colour": 1}', "colour: Extra inputs are not permitted"),
        ('{"query": ', "Invalid JSON"),
        ("[1]", "should be an object"),
        ('{"query": "x", "kind": "gossip"}', "kind: Input should be 'web' or 'news'"),
    ],
)
def test_wrong_arguments_are_named(arguments: str, said: str) -> None:
    with pytest.raises(ArgumentsError, match=said):
        _tool(search).parse(arguments)


def test_no_arguments_at_all_are_an_empty_object() -> None:
    def now() -> str:
        return "now"

    assert _tool(now).parse("") == {}


def test_what_a_model_wrote_is_quoted_only_in_part() -> None:
    with pytest.raises(ArgumentsError) as caught:
        _tool(search).parse('{"query": "x", "limit": "' + "9x" * 5_000 + '"}')

    assert len(str(caught.value)) < 300


def test_star_parameters_are_refused() -> None:
    def anything(**options: str) -> str:
        return str(options)

    with pytest.raises(ConfigurationError, match=r"takes \*options"):
        _tool(anything)


def test_types_that_json_cannot_fill_are_refused() -> None:
    def wants(value: Callable[[], int]) -> int:
        return value()

    with pytest.raises(ConfigurationError, match="cannot be described"):
        _tool(wants)


def test_hints_that_do_not_resolve_are_refused() -> None:
    def wants(value: "Missing") -> str:  # type: ignore[name-defined]  # noqa: F821
        return str(value)

    with pytest.raises(ConfigurationError, match="cannot be resolved"):
        _tool(wants)


def test_names_that_providers_refuse_are_refused_here() -> None:
    @tool(name="my.tool")
    def mine() -> str:
        return ""

    with pytest.raises(ConfigurationError, match="letters, digits"):
        _tool(mine)


def test_the_mark_leaves_the_function_as_it_was() -> None:
    @tool(side_effects=False)
    def double(n: int) -> int:
        return 2 * n

    assert double(4) == 8


def test_unmarked_counts_as_side_effecting_and_not_idempotent() -> None:
    made = _tool(search)

    assert (made.side_effects, made.idempotent, made.at_most_once) == (True, False, True)


def test_a_bare_mark_says_no_more_than_none() -> None:
    @tool
    def send(text: str) -> str:
        return text

    assert _tool(send).at_most_once


def test_without_side_effects_a_tool_may_be_tried_again() -> None:
    @tool(side_effects=False)
    def look() -> str:
        return ""

    made = _tool(look)

    assert (made.side_effects, made.idempotent, made.at_most_once) == (False, True, False)


def test_a_shadow_function_takes_the_same_parameters() -> None:
    def would_send(other: str) -> str:
        return other

    @tool(shadow=would_send)
    def send(text: str) -> str:
        return text

    with pytest.raises(ConfigurationError, match="must take the same parameters: text"):
        _tool(send)
