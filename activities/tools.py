"""Tool calls of runs: executed once, their results stored in the conversation."""

from datetime import UTC, datetime

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.dependencies import Dependencies
from activities.heartbeats import heartbeating
from activities.messages import ToolAnswer, ToolDone, ToolRef, ToolTask
from activities.snapshot import RunSnapshot
from activities.toolbox import Invocation
from gateway.calls import Message, ToolResult, ToolUse
from gateway.errors import NotFound
from gateway.store.conversations import Item


class ToolActivities:
    """Runs tools and writes down what they returned, each result once per tool call."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._deps = dependencies

    @activity.defn
    async def run_tool(self, task: ToolTask) -> ToolDone:
        """Run one tool call; its errors are results that the model reads.

        A result that is stored already is not computed again, so a retry after a lost
        completion has no second effect.
        """
        async with heartbeating():
            return await self._run_once(task)

    async def _run_once(self, task: ToolTask) -> ToolDone:
        store = self._deps.store.conversations
        snapshot = await self._deps.snapshots.get(task.run_id)
        asking, known = await store.pair(snapshot.conversation_id, task.call.item, _key(task.call))
        if known is not None:
            return ToolDone(item=known.number)
        use, started_at = _use(snapshot, task.call, asking), datetime.now(UTC)
        outcome = await self._deps.toolbox.execute(
            use,
            agent=snapshot.agent,
            mode=snapshot.mode,
            idempotency_key=f"{task.run_id}/{task.call.item}/{use.id}",
            context=Invocation(task.run_id, task.step, activity.heartbeat),
        )
        item = await store.append(
            snapshot.conversation_id,
            _key(task.call),
            Message(role="tool", parts=(outcome.result,)),
            started_at=started_at,
        )
        if outcome.shadowed:
            await self._deps.store.runs.record(
                task.run_id,
                "shadow_action",
                f"shadow:{_key(task.call)}",
                {"tool": use.name, "would": outcome.description},
            )
        return ToolDone(item=item, is_error=outcome.result.is_error, shadowed=outcome.shadowed)

    @activity.defn
    async def answer_tool(self, answer: ToolAnswer) -> ToolDone:
        """Store a result that nobody computed: a denial, a person's words, a child's answer."""
        snapshot = await self._deps.snapshots.get(answer.run_id)
        text = await self._text(answer.ref) if answer.ref else answer.text
        result = ToolResult(
            tool_use_id=answer.call.id, name=answer.call.name, content=text, is_error=answer.is_error
        )
        item = await self._deps.store.conversations.append(
            snapshot.conversation_id, _key(answer.call), Message(role="tool", parts=(result,))
        )
        return ToolDone(item=item, is_error=answer.is_error)

    async def _text(self, ref: str) -> str:
        """The words of `conversation:item`."""
        conversation_id, _, number = ref.rpartition(":")
        for item in await self._deps.store.conversations.items(conversation_id, [int(number)]):
            return item.message.text
        raise ApplicationError(f"item {ref} is not known", type="NotFound", non_retryable=True)


def _use(snapshot: RunSnapshot, call: ToolRef, asking: Item | None) -> ToolUse:
    if asking is None:
        raise NotFound(f"item {call.item} of conversation {snapshot.conversation_id} is not known")
    return next(use for use in asking.message.tool_uses if use.id == call.id)


def _key(call: ToolRef) -> str:
    return f"tool:{call.item}:{call.id}"
