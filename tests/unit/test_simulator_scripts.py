"""The simulated models behave as their names say, and curb's loop rules see them as they are."""

import json
from typing import Any

import pytest

from gateway.policy.limits import LoopRules
from gateway.policy.loops import Rule, StepRecord, ToolCallRecord, check
from gateway.providers.simulator.asked import InvalidRequest, read_anthropic, read_openai
from gateway.providers.simulator.behaviours import Part, UnknownBehaviour, parse
from gateway.providers.simulator.cache import PromptCache
from gateway.providers.simulator.scripts import plan
from gateway.providers.simulator.texts import babble, listed_files

PATH = {"type": "object", "properties": {"path": {"type": "string"}}}
TOOLS = {
    "list_files": PATH,
    "read_file": {**PATH, "required": ["path"]},
    "write_file": {
        "type": "object",
        "properties": {"path": {"type": "string"}, "content": {"type": "string"}},
        "required": ["path", "content"],
    },
    "ask_human": {"type": "object", "properties": {"question": {"type": "string"}}, "required": ["question"]},
    "delegate_to_helper": {
        "type": "object",
        "properties": {"task": {"type": "string"}},
        "required": ["task"],
    },
}
NO_CAPS = 40


def played(model: str, files: int, steps: int = NO_CAPS, max_tokens: int = 1024) -> list[StepRecord]:
    """Run a script as a run would, with tools that answer, until it has no more calls."""
    listing = "\n".join(f"file{number}.txt  2000" for number in range(files))
    results = {"list_files": listing, "read_file": "word " * 400, "write_file": "Wrote it."}
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Do it."}]
    tools = [{"type": "function", "function": {"name": name, "parameters": TOOLS[name]}} for name in TOOLS]
    history: list[StepRecord] = []
    while len(history) < steps:
        asked = read_openai({"model": model, "messages": messages, "tools": tools, "max_tokens": max_tokens})
        planned = plan(asked, parse(model).script)
        text = planned.text[: max_tokens * 4]
        calls = [(name, json.dumps(arguments)) for name, arguments in planned.calls]
        ids = [f"c{len(history)}-{position}" for position in range(len(calls))]
        wire = [
            {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}
            for id, (name, arguments) in zip(ids, calls, strict=True)
        ]
        messages.append({"role": "assistant", "content": text, **({"tool_calls": wire} if wire else {})})
        answers = [results.get(name, "An answer.") for name, _ in calls]
        messages += [
            {"role": "tool", "tool_call_id": id, "content": answer}
            for id, answer in zip(ids, answers, strict=True)
        ]
        records = tuple(
            ToolCallRecord(name, arguments, answer)
            for (name, arguments), answer in zip(calls, answers, strict=True)
        )
        history.append(StepRecord(len(history) + 1, asked.prompt_tokens, text, records))
        if not calls:
            break
    return history


def first_stop(history: list[StepRecord]) -> Rule | None:
    verdicts = (check(history[:length], LoopRules()) for length in range(1, len(history) + 1))
    return next((verdict.rule for verdict in verdicts if verdict and verdict.action == "stop"), None)


@pytest.mark.parametrize("files", [1, 2, 3, 7])
@pytest.mark.parametrize("model", ["m@steady-4", "m@steady-30", "m@think", "m@long-40", "m@spend-300-12"])
def test_workers_finish_and_are_not_taken_for_runaways(model: str, files: int) -> None:
    history = played(model, files)
    assert first_stop(history) is None
    assert not history[-1].calls


def test_a_steady_worker_takes_as_many_steps_as_it_says() -> None:
    for steps in (1, 2, 3, 9):
        assert len(played(f"m@steady-{steps}", 3)) == steps


@pytest.mark.parametrize(
    ("model", "rule"),
    [
        ("m@loop", Rule.REPEATED_CALL),
        ("m@alternate", Rule.ALTERNATING_CALLS),
        ("m@grow", Rule.CONTEXT_EXPLOSION),
        ("m@repeat", Rule.REPEATED_OUTPUT),
    ],
)
def test_runaways_are_stopped_by_the_rule_they_are_made_for(model: str, rule: Rule) -> None:
    assert first_stop(played(model, files=5, steps=25)) is rule


@pytest.mark.parametrize(("model", "tool"), [("m@ask", "ask_human"), ("m@delegate", "delegate_to_helper")])
def test_one_question_and_then_the_answer(model: str, tool: str) -> None:
    first, second = played(model, files=1)
    assert [call.name for call in first.calls] == [tool]
    assert "An answer." in second.output_text


def test_names_are_read() -> None:
    behaviour = parse("gpt-5-mini@spend-2000-3+slow-stream-20+429-7-once")
    assert behaviour.base == "gpt-5-mini"
    assert behaviour.script == Part("spend", (2000, 3))
    assert behaviour.manners == (Part("slow-stream", (20,)), Part("429", (7,), once=True))
    assert parse("gpt-5-mini").script == Part("steady", (4,))
    assert parse("gpt-5-mini@cut-final").manners == (Part("cut-final", ()),)
    assert parse("gpt-5-mini@cut-12").manners == (Part("cut", (12,)),)


@pytest.mark.parametrize("model", ["m@dance", "m@steady-1-2-3", "m@loop+steady", "m@429x"])
def test_names_that_mean_nothing_are_refused(model: str) -> None:
    with pytest.raises(UnknownBehaviour):
        parse(model)


def test_a_prompt_never_has_more_tokens_than_bytes() -> None:
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "日本 ß x"}, {"role": "user", "content": ""}],
    }
    assert read_openai(body).prompt_tokens <= len(json.dumps(body, ensure_ascii=False).encode())


def test_babble_has_the_tokens_it_should_and_languages_differ() -> None:
    assert [len(babble(tokens, "a")) for tokens in (0, 1, 600, 5000)] == [0, 4, 2400, 20000]
    assert babble(50, "a") == babble(50, "a") != babble(50, "b")


def test_listings_of_several_kinds_are_understood() -> None:
    assert listed_files("a b.txt  12\nsub/\n- c.md\nd.py\t3\ne.rs (4 bytes)\n[2 more]") == [
        "a b.txt",
        "c.md",
        "d.py",
        "e.rs",
    ]


def anthropic(*texts: str, marks: tuple[int, ...]) -> Any:
    mark = {"cache_control": {"type": "ephemeral"}}
    blocks = [
        {"type": "text", "text": text, **(mark if number in marks else {})}
        for number, text in enumerate(texts)
    ]
    return read_anthropic({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": blocks}]})


def test_anthropics_cache_writes_up_to_a_breakpoint_and_reads_what_was_written() -> None:
    cache = PromptCache(clock=lambda: 0.0)
    long, more = "x" * 8000, "y" * 4000
    first = cache.tokens(anthropic(long, "tail", marks=(0,)), "a", "m", cached=True)
    again = cache.tokens(anthropic(long, more, "tail", marks=(0, 1)), "a", "m", cached=True)
    other = cache.tokens(anthropic(long, "tail", marks=(0,)), "another account", "m", cached=True)
    assert (first.cache_read, first.cache_write > 2000, first.input < 20) == (0, True, True)
    assert (again.cache_read, again.cache_write > 1000) == (first.cache_write, True)
    assert other.cache_read == 0


def test_the_cache_forgets_after_five_minutes() -> None:
    now = [0.0]
    cache = PromptCache(clock=lambda: now[0])
    asked = anthropic("x" * 8000, marks=(0,))
    cache.tokens(asked, "a", "m", cached=True)
    now[0] = 301.0
    assert cache.tokens(asked, "a", "m", cached=True).cache_read == 0


def test_openais_cache_is_automatic_in_steps_of_128() -> None:
    cache = PromptCache(clock=lambda: 0.0)
    messages = [{"role": "system", "content": "x" * 8000}, {"role": "user", "content": "Hello"}]
    cache.tokens(read_openai({"model": "m", "messages": messages}), "a", "m", cached=True)
    messages.append({"role": "user", "content": "More"})
    asked = read_openai({"model": "m", "messages": messages})
    tokens = cache.tokens(asked, "a", "m", cached=True)
    assert tokens.cache_read % 128 == 0
    assert 1900 < tokens.cache_read < 2100
    assert tokens.input + tokens.cache_read == asked.prompt_tokens


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "assistant", "content": "I begin"}],
        [{"role": "user", "content": [{"type": "text", "text": " "}]}],
        [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x"}]}],
        [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "n", "input": {}}]},
            {"role": "user", "content": "b"},
        ],
    ],
)
def test_conversations_that_anthropic_refuses_are_refused(messages: list[dict[str, Any]]) -> None:
    with pytest.raises(InvalidRequest):
        read_anthropic({"model": "m", "max_tokens": 9, "messages": messages})
