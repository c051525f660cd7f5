"""What the model says next: derived from the request alone, so that a retry is answered alike."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.providers.simulator.asked import Asked, Tool
from gateway.providers.simulator.behaviours import Part
from gateway.providers.simulator.texts import babble, listed_files

_NOTES = "notes.md"
_MOST_READS_AT_ONCE = 8
_MOST_TOKENS = 65_536
_FILE_NAME = re.compile(r"\b[\w/-]+\.[a-z]{1,5}\b")
_REPEATED = (
    "I have looked at the matter again and I still believe that the best way forward is to look at it "
    "once more, because everything that I have seen so far points in the same direction as before. "
)


@dataclass(frozen=True, slots=True)
class Plan:
    """One answer: reasoning, then text, then tool calls as (name, arguments)."""

    text: str = ""
    reasoning: str = ""
    calls: tuple[tuple[str, dict[str, Any]], ...] = field(default=())


def plan(asked: Asked, script: Part) -> Plan:
    """What this script answers to this request."""
    return _SCRIPTS[script.name](asked, *script.numbers)


def _worker(asked: Asked, steps: int) -> Plan:
    """Lists, reads what was listed, writes its notes last, and says what it did."""
    number = asked.step + 1
    call = None if number >= steps else _work(asked, last=number == steps - 1)
    if call is None:
        return Plan(f"Done in {number} steps with {_results(asked)} tool results.")
    return Plan(f"Step {number} of {steps}: {call[0]}.", calls=(call,))


def _spender(asked: Asked, tokens: int, steps: int) -> Plan:
    working = _worker(asked, steps)
    return replace(working, text=babble(min(tokens, _MOST_TOKENS), asked.seed))


def _thinker(asked: Asked, tokens: int, steps: int) -> Plan:
    return replace(_worker(asked, steps), reasoning=babble(tokens, f"think {asked.seed}"))


def _runaway(asked: Asked) -> Plan:
    tool = _any_tool(asked)
    if tool is None:
        return Plan("I would do the same thing again, but I have no tools.")
    return Plan("Let me look again.", calls=((tool.name, _arguments(tool, 0)),))


def _alternator(asked: Asked) -> Plan:
    """Two tools in turn; with one tool only, two sets of arguments."""
    tools = _free_tools(asked)
    if not tools:
        return Plan("I would go back and forth, but I have no tools.")
    turn = asked.step % 2
    tool = tools[turn % len(tools)]
    return Plan(
        "The other way, then.", calls=((tool.name, _arguments(tool, turn if len(tools) == 1 else 0)),)
    )


def _grower(asked: Asked, tokens: int) -> Plan:
    """Texts that double, and twice as many reads at once, until max_tokens and 8 bound them."""
    text = babble(min(tokens << min(asked.step, 16), _MOST_TOKENS), asked.seed)
    first = _work(asked, last=False)
    if first is None:
        return Plan(text)
    files = _files(asked)
    reader = _tool(asked, "read_file")
    if reader is None or not files:
        return Plan(text, calls=(first,))
    many = min(1 << max(asked.step - 1, 0), _MOST_READS_AT_ONCE)
    paths = (_spelled(files, asked.step + number) for number in range(many))
    return Plan(text, calls=tuple((reader.name, {"path": path}) for path in paths))


def _repeater(asked: Asked, tokens: int) -> Plan:
    long = (_REPEATED * (tokens * 4 // len(_REPEATED) + 1))[: tokens * 4]
    call = _work(asked, last=False)
    return Plan(f"{long} ({asked.step + 1})", calls=(call,) if call else ())


def _asker(asked: Asked) -> Plan:
    tool = _tool(asked, "ask_human") or next((each for each in asked.tools if "human" in each.name), None)
    answers = [result.content for call, result in asked.history if tool and call.name == tool.name]
    if answers or tool is None:
        return Plan(f"Thank you. I was told: {answers[-1][:200]}" if answers else "There is nobody to ask.")
    return Plan("I need to know one thing.", calls=((tool.name, _arguments(tool, 0)),))


def _delegator(asked: Asked) -> Plan:
    tool = next((each for each in asked.tools if each.name.startswith("delegate")), None)
    answers = [result.content for call, result in asked.history if tool and call.name == tool.name]
    if answers or tool is None:
        return Plan(f"The other agent says: {answers[-1][:200]}" if answers else "There is nobody to help.")
    return Plan("Somebody else knows this better.", calls=((tool.name, _arguments(tool, 0)),))


def _stray(asked: Asked) -> Plan:
    if _results(asked):
        return Plan("Then I shall do without it.")
    return Plan("There should be a tool for this.", calls=(("no_such_tool", {"path": "."}),))


def _talker(asked: Asked, tokens: int) -> Plan:
    return Plan(babble(min(tokens, _MOST_TOKENS), asked.seed))


_SCRIPTS: dict[str, Callable[..., Plan]] = {
    "steady": _worker,
    "long": _worker,
    "spend": _spender,
    "think": _thinker,
    "loop": _runaway,
    "alternate": _alternator,
    "grow": _grower,
    "repeat": _repeater,
    "ask": _asker,
    "delegate": _delegator,
    "stray": _stray,
    "say": _talker,
}


def _work(asked: Asked, *, last: bool) -> tuple[str, dict[str, Any]] | None:
    """A useful next call that differs from the ones before; None without any tools."""
    writer, lister, reader = (_tool(asked, name) for name in ("write_file", "list_files", "read_file"))
    if last and writer is not None:
        return writer.name, {"path": _NOTES, "content": f"# Notes\n\n{_results(asked)} results seen.\n"}
    if lister is not None and asked.step == 0:
        return lister.name, {"path": "."}
    files = _files(asked)
    if reader is not None and files:
        return reader.name, {"path": _spelled(files, asked.step)}
    tool = _any_tool(asked)
    return (tool.name, _arguments(tool, asked.step)) if tool else None


def _spelled(files: list[str], number: int) -> str:
    """The files in turn; fewer than three are spelled in three ways, as A-A-A and A-B-A-B are loops."""
    spellings = [prefix + name for prefix in ("", "./", "././") for name in files]
    return spellings[number % max(len(files), 3)]


def _files(asked: Asked) -> list[str]:
    """Files by the latest listing, else those that the user's words name."""
    listings = [
        result.content for call, result in asked.history if "list" in call.name and not result.is_error
    ]
    if listings:
        return listed_files(listings[-1])
    return _FILE_NAME.findall("\n".join(turn.text for turn in asked.turns if turn.role == "user"))


def _results(asked: Asked) -> int:
    return sum(len(turn.results) for turn in asked.turns)


def _tool(asked: Asked, name: str) -> Tool | None:
    return next((tool for tool in asked.tools if tool.name == name), None)


def _free_tools(asked: Asked) -> list[Tool]:
    """Tools that are neither people nor other agents, those that only look first."""
    tools = [
        tool for tool in asked.tools if "human" not in tool.name and not tool.name.startswith("delegate")
    ]
    return sorted(
        tools, key=lambda tool: (not tool.name.startswith(("list", "read", "get", "search")), tool.name)
    )


def _any_tool(asked: Asked) -> Tool | None:
    return next(iter(_free_tools(asked)), None)


def _arguments(tool: Tool, number: int) -> dict[str, Any]:
    """Arguments that fit the tool's schema and differ by number where it leaves room."""
    properties: dict[str, Any] = tool.schema.get("properties") or {}
    wanted = tool.schema.get("required") or list(properties)[:1]
    return {name: _value(name, properties.get(name) or {}, number) for name in wanted}


def _value(name: str, schema: dict[str, Any], number: int) -> Any:
    if "enum" in schema:
        return schema["enum"][number % len(schema["enum"])]
    match schema.get("type"):
        case "integer" | "number":
            return schema.get("minimum", 1) + number
        case "boolean":
            return number % 2 == 1
        case "array":
            return [_value(name, schema.get("items") or {}, number)]
        case "object":
            inner = Tool(name, "", schema)
            return _arguments(inner, number)
    if name == "path":
        return "./" * (number % 3) + "."
    if name in ("question", "task"):
        return f"What should be done about part {number + 1}?"
    return f"{name} {number + 1}"


def arguments_json(arguments: dict[str, Any]) -> str:
    """The JSON text that the model writes."""
    return json.dumps(arguments, ensure_ascii=False, separators=(",", ":"))
