"""A tool as the rest of curb sees it, wherever it comes from."""

import asyncio
import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from activities.toolbox.context import Heartbeat, ToolContext
from activities.toolbox.marks import DEFAULT_TIMEOUT_SECONDS, ToolFunction, ToolMark, mark_of
from activities.toolbox.schema import Signature
from activities.toolbox.threads import Threads
from gateway.calls import ToolSpec
from gateway.errors import ConfigurationError

NAME_PATTERN = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""What every provider accepts as the name of a tool."""

Values = Mapping[str, object]
Body = Callable[[Values, ToolContext], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool: what the model sees, what curb must know, and how it is done.

    parse: JSON text of the model -> argument values; raises ArgumentsError.
    call: does it. shadow: says what `call` would have done, as sentences; None: not known.
    handled_by_workflow: the workflow answers it itself; `call` is never used.
    source: where it comes from, for messages to people.
    """

    spec: ToolSpec
    parse: Callable[[str], dict[str, object]]
    call: Body
    source: str
    side_effects: bool = True
    idempotent: bool = False
    requires_approval: bool = False
    handled_by_workflow: bool = False
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    shadow: Body | None = None

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def at_most_once(self) -> bool:
        """Whether it may be tried at most once: a second try could do it twice."""
        return self.side_effects and not self.idempotent


def function_tool(function: ToolFunction, threads: Threads) -> Tool:
    """A tool from a Python callable, marked or not. Raises ConfigurationError."""
    mark = mark_of(function) or ToolMark()
    label = f"Tool {_qualified(function)}"
    signature = Signature(function, label)
    name = mark.name or _own_name(function)
    check_name(name, label)
    return Tool(
        spec=ToolSpec(name=name, description=signature.description.summary, input_schema=signature.schema()),
        parse=signature.parse,
        call=_body(function, signature, threads),
        source=_qualified(function),
        side_effects=mark.side_effects,
        idempotent=mark.idempotent,
        requires_approval=mark.requires_approval,
        handled_by_workflow=mark.handled_by_workflow,
        timeout_seconds=mark.timeout_seconds,
        shadow=_shadow(mark, signature.names, label, threads),
    )


def check_name(name: str, label: str) -> None:
    """Raises ConfigurationError if providers would not take this name."""
    if not NAME_PATTERN.fullmatch(name):
        raise ConfigurationError(
            f"{label} is called {name!r}; providers accept 1 to 64 letters, digits, _ and -: "
            "name it with @tool(name=...)"
        )


def _shadow(mark: ToolMark, names: frozenset[str], label: str, threads: Threads) -> Body | None:
    if mark.shadow is None:
        return None
    signature = Signature(mark.shadow, f"The shadow function of {label}")
    if signature.names != names:
        raise ConfigurationError(
            f"The shadow function of {label} must take the same parameters: {', '.join(sorted(names))}"
        )
    return _body(mark.shadow, signature, threads)


def _body(function: ToolFunction, signature: Signature, threads: Threads) -> Body:
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        raise ConfigurationError(f"Tool {_qualified(function)} is a generator; return one value instead")
    direct = _is_async(function)

    async def call(values: Values, context: ToolContext) -> object:
        if direct:
            positional, named = signature.bind(values, context)
            return await function(*positional, **named)
        positional, named = signature.bind(values, _for_thread(context))
        result = await threads.run(partial(function, *positional, **named))
        return await result if inspect.isawaitable(result) else result

    return call


def _for_thread(context: ToolContext) -> ToolContext:
    """The same context, with a heartbeat that a thread may call."""
    return replace(context, heartbeat=_from_thread(context.heartbeat))


def _from_thread(heartbeat: Heartbeat) -> Heartbeat:
    loop = asyncio.get_running_loop()
    return lambda *details: loop.call_soon_threadsafe(heartbeat, *details)


def _is_async(function: ToolFunction) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - an instance with `async def __call__`
    )


def _own_name(function: ToolFunction) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


def _qualified(function: ToolFunction) -> str:
    home = function if hasattr(function, "__qualname__") else type(function)
    return f"{home.__module__}.{home.__qualname__}"
