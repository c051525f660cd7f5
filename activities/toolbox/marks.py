"""`@tool`: says what a Python callable does to the world. It only marks; loading is elsewhere."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, overload

ToolFunction = Callable[..., Any]
_Function = TypeVar("_Function", bound=ToolFunction)

DEFAULT_TIMEOUT_SECONDS = 60.0
_ATTRIBUTE = "__curb_tool__"


@dataclass(frozen=True, slots=True)
class ToolMark:
    """What `@tool` says. The defaults are those of a callable of which nothing is known.

    name: what the model calls it ('' = the function's own name).
    shadow: takes the same parameters; returns what would have happened, as sentences.
    """

    name: str = ""
    side_effects: bool = True
    idempotent: bool = False
    requires_approval: bool = False
    shadow: ToolFunction | None = None
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    handled_by_workflow: bool = False


@overload
def tool(function: _Function, /) -> _Function: ...


@overload
def tool(
    *,
    name: str = "",
    side_effects: bool = True,
    idempotent: bool | None = None,
    requires_approval: bool = False,
    shadow: ToolFunction | None = None,
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
) -> Callable[[_Function], _Function]: ...


def tool(
    function: ToolFunction | None = None,
    /,
    *,
    name: str = "",
    side_effects: bool = True,
    idempotent: bool | None = None,
    requires_approval: bool = False,
    shadow: ToolFunction | None = None,
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
) -> Any:
    """Mark a sync or async function as a tool; it stays the function it was.

    side_effects: it changes something outside of the run. True unless you say otherwise, since
    a shadow run leaves such tools out. idempotent: doing it twice is doing it once; what is
    neither idempotent nor free of side effects is tried at most once. Not given: true exactly
    for tools without side effects. requires_approval: a person must say yes first. shadow: a
    function with the same parameters that says what would have happened.
    """
    known = not side_effects if idempotent is None else idempotent
    mark = ToolMark(name, side_effects, known, requires_approval, shadow, timeout_seconds)
    return put_mark(function, mark) if function is not None else lambda f: put_mark(f, mark)


def put_mark(function: _Function, mark: ToolMark) -> _Function:
    setattr(function, _ATTRIBUTE, mark)
    return function


def mark_of(function: object) -> ToolMark | None:
    """The mark of a callable, or None if it has none."""
    mark = getattr(function, _ATTRIBUTE, None)
    return mark if isinstance(mark, ToolMark) else None
