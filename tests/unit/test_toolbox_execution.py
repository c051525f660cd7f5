"""One tool call: whatever happens inside a tool is a result that the model can read."""

import asyncio
import sys
import threading
from collections.abc import Callable
from typing import Any, Literal

import pytest

from activities.toolbox import Invocation, Toolbox, ToolContext, ToolError, ToolOutcome, tool
from gateway.agents import Agent
from gateway.calls import ToolUse


async def _call(
    function: Callable[..., Any],
    arguments: str = "{}",
    *,
    mode: Literal["live", "shadow"] = "live",
    context: Invocation | None = None,
) -> ToolOutcome:
    async with Toolbox(max_threads=2) as box:
        name = box.add(function).name
        return await box.execute(
            ToolUse(id="t1", name=name, arguments=arguments),
            agent=Agent(name="a", tools=(name,)),
            mode=mode,
            idempotency_key="key-1",
            context=context,
        )


def add(a: int, b: int) -> int:
    return a + b


async def test_a_sync_tool_answers() -> None:
    outcome = await _call(add, '{"a": 1, "b": 2}')

    assert (outcome.result.content, outcome.result.is_error, outcome.shadowed) == ("3", False, False)
    assert (outcome.result.tool_use_id, outcome.result.name) == ("t1", "add")
    assert outcome.description == "add(a=1, b=2)"


async def test_an_async_tool_answers_in_json() -> None:
    async def look() -> dict[str, object]:
        return {"found": ["ü", None]}

    assert (await _call(look)).result.content == '{"found":["ü",null]}'


async def test_sync_tools_leave_the_loop_free() -> None:
    def where() -> str:
        return threading.current_thread().name

    assert (await _call(where)).result.content == "curb-tool"


async def test_wrong_arguments_are_an_error_result() -> None:
    outcome = await _call(add, '{"a": 1, "b": "two"}')

    assert outcome.result.is_error
    assert "b: Input should be a valid integer" in outcome.result.content


async def test_an_exception_is_an_error_result_of_bounded_length() -> None:
    def burn() -> str:
        raise ValueError("x" * 100_000)

    outcome = await _call(burn)

    assert outcome.result.is_error
    assert outcome.result.content.startswith("burn failed: ValueError: xxx")
    assert len(outcome.result.content) < 2_200


async def test_a_tools_own_refusal_is_passed_on_as_it_is() -> None:
    async def shop() -> str:
        raise ToolError("Closed on Sundays")

    assert (await _call(shop)).result.content == "Closed on Sundays"


@pytest.mark.parametrize("error", [SystemExit(3), StopIteration("end"), TimeoutError("theirs")])
async def test_no_exception_of_a_tool_escapes(error: BaseException) -> None:
    def leave() -> str:
        raise error

    assert (await _call(leave)).result.content.startswith("leave failed: ")


async def test_cancellation_is_not_an_error_result() -> None:
    started = asyncio.Event()

    async def wait() -> None:
        started.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(_call(wait))
    await started.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_tool_that_takes_too_long_is_given_up() -> None:
    @tool(timeout_seconds=0.05)
    async def sleep() -> None:
        await asyncio.Event().wait()

    outcome = await _call(sleep)

    assert outcome.result.is_error
    assert outcome.result.content == "sleep took longer than 0.05 s and was given up"


async def test_a_sync_tool_that_is_given_up_can_see_it() -> None:
    seen = threading.Event()

    @tool(timeout_seconds=0.05)
    def patient(context: ToolContext) -> None:
        if context.cancelled.wait(10):
            seen.set()

    outcome = await _call(patient)

    assert outcome.result.is_error
    assert await asyncio.to_thread(seen.wait, 10)


async def test_hung_threads_are_bounded() -> None:
    release = threading.Event()

    @tool(timeout_seconds=0.05)
    def hang() -> None:
        release.wait(30)

    async with Toolbox(max_threads=1) as box:
        box.add(hang)
        use = ToolUse(id="t", name="hang", arguments="{}")
        agent = Agent(name="a", tools=("hang",))
        first = await box.execute(use, agent=agent, mode="live", idempotency_key="k")
        second = await box.execute(use, agent=agent, mode="live", idempotency_key="k")
        release.set()

    assert "took longer" in first.result.content
    assert "Too many tools are running" in second.result.content


async def test_a_long_result_is_cut_and_says_so() -> None:
    def talk() -> str:
        return "ü" * 50_000

    content = (await _call(talk)).result.content

    assert content.startswith("ü" * 32_000 + "\n")
    assert content.endswith("[cut here: 36,000 more bytes of 100,000]")


async def test_what_postgres_cannot_keep_is_replaced() -> None:
    def noise() -> str:
        return "a\x00b\ud800c"

    content = (await _call(noise)).result.content

    assert content == "a\ufffdb?c"


async def test_the_context_tells_run_step_and_key() -> None:
    def where(context: ToolContext) -> str:
        return f"{context.run_id} {context.step} {context.idempotency_key} {context.agent.name}"

    outcome = await _call(where, context=Invocation(run_id="r9", step=4))

    assert outcome.result.content == "r9 4 key-1 a"


async def test_a_thread_may_heartbeat() -> None:
    beats: list[tuple[str, object]] = []

    def work(context: ToolContext) -> str:
        context.heartbeat("half")
        return "done"

    def beat(*details: object) -> None:
        beats.append((threading.current_thread().name, details))

    await _call(work, context=Invocation(heartbeat=beat))

    assert beats == [(threading.main_thread().name, ("half",))]


async def test_a_tool_that_the_agent_does_not_have_is_refused() -> None:
    async with Toolbox() as box:
        box.add(add)
        outcome = await box.execute(
            ToolUse(id="t", name="add", arguments="{}"),
            agent=Agent(name="a", tools=("read_file",)),
            mode="live",
            idempotency_key="k",
        )

    assert outcome.result.is_error
    assert outcome.result.content == "There is no tool 'add'. You have: read_file."


async def test_shadow_leaves_side_effects_out_and_tells_the_model() -> None:
    done: list[str] = []

    def send_mail(to: str) -> None:
        done.append(to)

    outcome = await _call(send_mail, '{"to": "eve@example.org"}', mode="shadow")

    assert done == []
    assert outcome.shadowed
    assert not outcome.result.is_error
    assert outcome.result.content == (
        "In shadow mode: send_mail(to='eve@example.org') was not executed. "
        "It has side effects; go on as if it had succeeded."
    )
    assert outcome.description == outcome.result.content


async def test_shadow_uses_the_tools_own_words() -> None:
    async def would_pay(amount: int, context: ToolContext) -> str:
        return f"It would have paid {amount} for step {context.step}."

    @tool(shadow=would_pay)
    def pay(amount: int) -> None:
        raise AssertionError(amount)

    outcome = await _call(pay, '{"amount": 5}', mode="shadow", context=Invocation(step=2))

    assert outcome.result.content.endswith("was not executed. It would have paid 5 for step 2.")


async def test_a_shadow_function_that_fails_is_no_error_of_the_model() -> None:
    def broken(amount: int) -> str:
        raise RuntimeError("oops")

    @tool(shadow=broken)
    def pay(amount: int) -> None:
        raise AssertionError(amount)

    outcome = await _call(pay, '{"amount": 5}', mode="shadow")

    assert outcome.shadowed
    assert not outcome.result.is_error
    assert "What it would have done is not known" in outcome.result.content


async def test_shadow_executes_what_has_no_side_effects() -> None:
    @tool(side_effects=False)
    def look() -> str:
        return "seen"

    outcome = await _call(look, mode="shadow")

    assert (outcome.result.content, outcome.shadowed) == ("seen", False)


async def test_shadow_still_checks_arguments() -> None:
    outcome = await _call(add, '{"a": 1}', mode="shadow")

    assert outcome.result.is_error
    assert not outcome.shadowed


async def test_questions_to_people_are_not_answered_here() -> None:
    async with Toolbox() as box:
        agent = Agent(name="a", tools=("ask_human",))
        assert (await box.resolve(agent))["ask_human"].handled_by_workflow
        outcome = await box.execute(
            ToolUse(id="t", name="ask_human", arguments='{"question": "Well?"}'),
            agent=agent,
            mode="live",
            idempotency_key="k",
        )

    assert outcome.result.is_error


async def test_deep_json_is_an_error_result() -> None:
    def take(value: Any) -> str:
        return str(value)

    depth = sys.getrecursionlimit() * 20
    outcome = await _call(take, '{"value": ' + "[" * depth + "]" * depth + "}")

    assert outcome.result.is_error
