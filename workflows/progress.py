"""Where a run stands, and what people see of that: current details, the query, search attributes."""

from typing import Any

from temporalio import workflow
from temporalio.common import SearchAttributeKey

with workflow.unsafe.imports_passed_through():
    from activities.messages import CallResult, RunPlan
    from gateway.policy.money import decimal_usd, format_usd
    from workflows.messages import RunInput, RunState, RunStatus
    from workflows.supervision import Waiting

_AGENT = SearchAttributeKey.for_keyword("CurbAgent")
_TEAM = SearchAttributeKey.for_keyword("CurbTeam")
_USER = SearchAttributeKey.for_keyword("CurbUser")
_MODE = SearchAttributeKey.for_keyword("CurbMode")
_STATUS = SearchAttributeKey.for_keyword("CurbStatus")
_COST = SearchAttributeKey.for_int("CurbCostMicroUsd")


class Progress:
    """The numbers of a run, its plan once it is open, and what it waits for.

    state: what it carries over continue-as-new. status: starting, running, or how it ended.
    """

    def __init__(self, given: RunInput) -> None:
        self.agent = given.agent
        self.state = given.state or RunState()
        self.plan: RunPlan | None = self.state.plan
        self.waiting = Waiting(self.show)
        self.status = "starting" if self.plan is None else "running"
        self._told_status = ""
        self._steps_before = self.state.step
        if self.state.paused_by_hand:
            self.waiting.causes["hand"] = self.state.paused_by_hand

    @property
    def opened(self) -> RunPlan:
        """The plan of a run that is open."""
        assert self.plan is not None
        return self.plan

    @property
    def max_steps(self) -> int:
        return (self.plan.max_steps if self.plan else 0) + self.state.max_steps_extension

    @property
    def steps_here(self) -> int:
        """Steps since the run last continued as new."""
        return self.state.step - self._steps_before

    @property
    def ended(self) -> bool:
        return self.status not in ("starting", "running")

    @property
    def seconds_left(self) -> float:
        """Until the deadline; more than zero, so that a timer can be set."""
        return max(self.opened.deadline_seconds - (workflow.time() - self.state.started_at), 0.1)

    def count(self, **changes: Any) -> None:
        """Change numbers of the state."""
        self.state = self.state.model_copy(update=changes)

    def begin(self, plan: RunPlan) -> None:
        """The run is open."""
        self.plan, self.status = plan, "running"
        if plan.search_attributes:
            workflow.upsert_search_attributes(
                [
                    _AGENT.value_set(plan.agent),
                    _TEAM.value_set(plan.team),
                    _USER.value_set(plan.user),
                    _MODE.value_set(plan.mode),
                ]
            )
        self.show()

    def add(self, answer: CallResult) -> None:
        """Account for a step's answer."""
        state = self.state
        self.count(
            last_item=answer.item,
            cost_nano_usd=state.cost_nano_usd + answer.cost_nano_usd,
            prompt_tokens=state.prompt_tokens + answer.prompt_tokens,
            output_tokens=state.output_tokens + answer.output_tokens,
            tool_calls=state.tool_calls + len(answer.tool_calls),
        )
        self.show()

    def end(self, status: str) -> None:
        """The run is over; it waits for nothing any more."""
        self.status = status
        self.waiting.causes.clear()

    def add_up(self, cost_nano_usd: int) -> None:
        """The run has ended and this is what it cost by the books."""
        self.count(cost_nano_usd=cost_nano_usd)
        self.show()
        if self.plan is not None and self.plan.search_attributes:
            workflow.upsert_search_attributes([_COST.value_set(cost_nano_usd // 1000)])

    def show(self) -> None:
        """Keep true what the Temporal UI shows as current details and finds runs by."""
        workflow.set_current_details(self._details())
        if self.plan is not None and self.plan.search_attributes and self._told_status != self._shown_status:
            self._told_status = self._shown_status
            workflow.upsert_search_attributes([_STATUS.value_set(self._told_status)])

    def status_now(self) -> RunStatus:
        """The answer to the query `status`."""
        return RunStatus(
            run_id=workflow.info().workflow_id,
            agent=self.agent,
            status=self._shown_status,
            step=self.state.step,
            max_steps=self.max_steps,
            cost_usd=decimal_usd(self.state.cost_nano_usd),
            budget_usd="" if self._budget is None else decimal_usd(self._budget),
            waiting_for=dict(self.waiting.causes),
            mode=self.plan.mode if self.plan else "live",
        )

    def _details(self) -> str:
        spent = f"spent {format_usd(self.state.cost_nano_usd)}"
        limit = ", no run budget" if self._budget is None else f" of {format_usd(self._budget)}"
        mode = " · shadow" if self.plan is not None and self.plan.mode == "shadow" else ""
        step = f"step {self.state.step} of {self.max_steps}" if self.plan is not None else "not open yet"
        lines = [f"**{self._shown_status}** · agent `{self.agent}`{mode} · {step}", spent + limit]
        lines += [f"waits for {cause}: {text}" for cause, text in self.waiting.causes.items()]
        return "  \n".join(lines)

    @property
    def _budget(self) -> int | None:
        """With the top-ups of the run's own budget."""
        if self.plan is None or self.plan.budget_nano_usd is None:
            return None
        return self.state.limit_nano_usd or self.plan.budget_nano_usd

    @property
    def _shown_status(self) -> str:
        return "paused" if self.waiting.causes and self.status == "running" else self.status
