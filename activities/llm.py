"""The gateway activity: one step's model call."""

from dataclasses import replace
from functools import partial

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.dependencies import Dependencies
from activities.heartbeats import heartbeating
from activities.history import step_records
from activities.messages import CallResult, ModelCall, Refused, ToolRef
from activities.snapshot import RunSnapshot
from gateway.calls import Call, Completion, ModelRequest, Outcome
from gateway.digests import digest, short_hash
from gateway.errors import NotFound, StateUnavailable, StoreUnavailable
from gateway.policy import loops
from gateway.policy.loops import StepRecord
from gateway.policy.refusals import Refusal, RefusalKind
from gateway.providers.errors import ProviderError
from gateway.store.conversations import Item
from gateway.store.errors import StoreRejected

_TOTAL_TIMEOUT_FACTOR = 3
_NOTE_CHARACTERS = 500


class LlmActivities:
    """Model calls of runs, over Gateway.complete."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._deps = dependencies

    @activity.defn
    async def call_model(self, call: ModelCall) -> CallResult:
        """Buy one step of a run. Refusals and unavailability are returned, never raised.

        The prompt is assembled from the store; the answer becomes the conversation's next item.
        """
        info = activity.info()
        async with heartbeating():
            try:
                snapshot = await self._deps.snapshots.get(call.run_id)
                prompt = _Prompt(self._deps, snapshot, inline=call.inline)
                key = _call_key(info, call)
                outcome = await self._deps.gateway.complete(
                    replace(
                        self._call(call, snapshot, prompt),
                        key=key,
                        answered=partial(prompt.has, key),
                        retried=call.recheck or info.attempt > 1,
                    )
                )
                return await self._result(call, snapshot, prompt, outcome)
            except NotFound as error:
                raise ApplicationError(str(error), type="NotFound", non_retryable=True) from error
            except ProviderError as error:
                return CallResult(error=f"{error.kind.value}: {error.summary[:300]}")
            except StoreRejected:  # asking again would buy the same answer again, and it fits no better
                return CallResult(error="the answer could not be stored: Postgres refused its values")
            except (StateUnavailable, StoreUnavailable) as error:
                detail = Refusal(RefusalKind.UNAVAILABLE, detail=str(error)[:300])
                return CallResult(refused=Refused.of(detail))

    @staticmethod
    def _call(call: ModelCall, snapshot: RunSnapshot, prompt: "_Prompt") -> Call:
        timeout = snapshot.agent.limits.call_timeout_seconds
        return Call(
            key="",
            caller=snapshot.caller(call.step),
            request=prompt.load,
            tier=snapshot.agent.tier,
            run_budget_nano_usd=snapshot.budget_nano_usd,
            ancestor_budgets_nano_usd=snapshot.ancestor_budgets_nano_usd,
            agent_daily_budget_nano_usd=snapshot.agent.daily_budget_nano_usd,
            conversation_id=snapshot.conversation_id,
            recheck=call.recheck,
            cost_aware=snapshot.agent.cost_aware,
            cache="off" if snapshot.agent.cache == "auto" else snapshot.agent.cache,
            timeout_seconds=timeout,
            total_timeout_seconds=timeout * _TOTAL_TIMEOUT_FACTOR,
        )

    async def _result(
        self, call: ModelCall, snapshot: RunSnapshot, prompt: "_Prompt", outcome: Outcome
    ) -> CallResult:
        if isinstance(outcome, Refusal):
            await self._note_pause(call, str(outcome)[:_NOTE_CHARACTERS])
            return CallResult(refused=Refused.of(outcome), attempts=outcome.attempts)
        verdict = await self._verdict(snapshot, prompt, outcome)
        return CallResult(
            item=outcome.item,
            finish_reason=outcome.finish_reason,
            tool_calls=_tool_refs(outcome),
            prompt_tokens=outcome.usage.prompt_tokens,
            output_tokens=outcome.usage.output_tokens,
            cost_nano_usd=outcome.cost_nano_usd,
            deployment=outcome.deployment,
            replayed=outcome.replayed,
            stop_rule=verdict.rule.value if verdict else "",
            stop_detail=str(verdict)[:500] if verdict else "",
            text=outcome.message.text if call.inline else "",
        )

    async def _note_pause(self, call: ModelCall, waiting_for: str) -> None:
        """Keep the run's row true: lists show it, and the enforcer wakes runs by what they wait for.

        That it goes on is noted with the answer.
        """
        await self._deps.store.runs.update(
            call.run_id, status="paused", waiting_for=waiting_for, steps=call.step
        )

    async def _verdict(
        self, snapshot: RunSnapshot, prompt: "_Prompt", completion: Completion
    ) -> "loops.Verdict | None":
        """Judge the stored conversation with this answer; what a rule finds is an alert with its evidence."""
        steps = step_records(await prompt.items(up_to=completion.item))
        latest = StepRecord(len(steps) + 1, completion.usage.prompt_tokens, completion.message.text)
        verdict = loops.check((*steps, latest), snapshot.agent.limits.loops)
        if verdict is None:
            return None
        self._deps.metrics.looped(snapshot.agent.name, verdict.rule.value)
        await self._deps.authority.alert(
            verdict.rule.value, f"run:{snapshot.run_id}", {"agent": snapshot.agent.name} | verdict.as_json()
        )
        return verdict if verdict.action == "stop" else None


class _Prompt:
    """The request of a step, assembled from the conversation when it is needed."""

    def __init__(self, dependencies: Dependencies, snapshot: RunSnapshot, *, inline: bool) -> None:
        self._deps = dependencies
        self._snapshot = snapshot
        self._inline = inline  # then nobody carries out tool calls
        self._items: list[Item] | None = None

    async def items(self, up_to: int | None = None) -> list[Item]:
        """Return the items before number `up_to`, reading them from the store at most once."""
        if self._items is None:
            self._items = await self._deps.store.conversations.load(self._snapshot.conversation_id)
        return [item for item in self._items if up_to is None or item.number < up_to]

    async def has(self, key: str) -> bool:
        """Whether an item has this key: a run's answer is an item of its conversation."""
        return any(item.key == key for item in await self.items())

    async def load(self) -> ModelRequest:
        agent = self._snapshot.agent
        items = await self.items()
        return ModelRequest(
            system=agent.instructions,
            messages=tuple(item.message for item in items),
            tools=() if self._inline else self._snapshot.tools,
            max_output_tokens=agent.max_output_tokens,
            temperature=agent.temperature,
        )


def _call_key(info: activity.Info, call: ModelCall) -> str:
    """One key for a step, however often it is asked: an answer stored once is never bought again.

    A second agent in a workflow of the user's own counts steps of its own.
    """
    other = "" if call.run_id == info.workflow_id else f"{short_hash(call.run_id)}:"
    return f"run:{info.workflow_run_id}:{other}{call.step}"


def _tool_refs(completion: Completion) -> tuple[ToolRef, ...]:
    return tuple(
        ToolRef(item=completion.item, id=use.id, name=use.name, digest=digest(use))
        for use in completion.message.tool_uses
    )
