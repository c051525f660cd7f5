"""The steps of a conversation as the loop rules look at them."""

from collections.abc import Sequence

from gateway.calls import Message, ToolResult
from gateway.policy.loops import StepRecord, ToolCallRecord
from gateway.store.conversations import Item


def step_records(items: Sequence[Item]) -> tuple[StepRecord, ...]:
    """One record per answer of the model. Calls whose result is not stored yet are left out."""
    results = {
        part.tool_use_id: part
        for item in items
        for part in item.message.parts
        if isinstance(part, ToolResult)
    }
    answers = [item for item in items if item.message.role == "assistant"]
    return tuple(
        StepRecord(
            step=number,
            prompt_tokens=item.prompt_tokens,
            output_text=item.message.text,
            calls=_calls(item.message, results),
        )
        for number, item in enumerate(answers, start=1)
    )


def _calls(message: Message, results: dict[str, ToolResult]) -> tuple[ToolCallRecord, ...]:
    return tuple(
        ToolCallRecord(use.name, use.arguments, results[use.id].content, results[use.id].is_error)
        for use in message.tool_uses
        if use.id in results
    )
