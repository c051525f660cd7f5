"""What people and programs can say to a run, and ask it."""

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.messages import TopUp, TopUpDone
    from gateway.policy.money import usd
    from workflows.children import Children
    from workflows.messages import Answer, Deny, RunStatus
    from workflows.people import Decision, People, as_answer, as_denial
    from workflows.progress import Progress
    from workflows.top_ups import check_top_up, raise_budget, with_note

_MOST_STEPS_AT_ONCE = 10_000


class RunMessages:
    """The signals, updates and the query of AgentRun. A person can type each into the Temporal UI."""

    def __init__(self, progress: Progress, people: People, children: Children) -> None:
        self._progress = progress
        self._people = people
        self._children = children
        self._kill_reason: str | None = None

    @workflow.signal
    def kill(self, reason: str = "killed by hand") -> None:
        """End the run now, and its children; a call in flight is cut and booked."""
        self._kill_reason = reason or "killed by hand"

    @workflow.signal
    async def pause(self, reason: str = "paused by hand") -> None:
        """Buy nothing more until `resume`; the call in flight may finish."""
        reason = reason or "paused by hand"
        self._progress.waiting.set("hand", reason)
        await self._children.tell("pause", reason)

    @workflow.signal
    async def resume(self) -> None:
        """Lift a pause made by hand."""
        self._progress.waiting.clear("hand")
        self._progress.waiting.wake()
        await self._children.tell("resume")

    @workflow.signal
    def wake(self) -> None:
        """Look again now at what the run waits for (sent when a switch or a budget changed)."""
        self._progress.waiting.wake()

    @workflow.update
    async def top_up(self, amount: TopUp | str) -> TopUpDone:
        """Raise the budget that blocks; plain text is dollars for the run's own. Done once per update id."""
        await self._opened()
        me = workflow.info().workflow_id
        done = await raise_budget(me, amount)
        if done.scope == f"run:{me}" and done.limit_usd:
            self._progress.count(limit_nano_usd=usd(done.limit_usd))
            self._progress.show()
        blocked = self._progress.waiting.causes.get("budget", "")
        self._progress.waiting.wake()
        await self._children.tell("wake")
        return with_note(done, blocked)

    @top_up.validator
    def _check_top_up(self, amount: TopUp | str) -> None:
        check_top_up(amount)

    @workflow.update
    def approve(self, tool_call: str) -> str:
        """Allow a tool call that waits for approval; the id is in `curb show`."""
        self._people.decide(tool_call, Decision(approved=True))
        return "approved"

    @approve.validator
    def _check_approve(self, tool_call: str) -> None:
        self._people.check_decision(tool_call)

    @workflow.update
    def deny(self, tool_call: Deny | str) -> str:
        """Refuse a tool call that waits for approval; the model is told why."""
        denial = as_denial(tool_call)
        self._people.decide(denial.call, Decision(approved=False, reason=denial.reason))
        return "denied"

    @deny.validator
    def _check_deny(self, tool_call: Deny | str) -> None:
        self._people.check_decision(as_denial(tool_call).call)

    @workflow.update
    def answer(self, answer: Answer | str) -> str:
        """Answer the open question; with several open, name which."""
        self._people.reply(as_answer(answer))
        return "answered"

    @answer.validator
    def _check_answer(self, answer: Answer | str) -> None:
        self._people.check_reply(as_answer(answer))

    @workflow.update
    async def extend_steps(self, steps: int) -> int:
        """Allow that many steps more; returns the new maximum."""
        await self._opened()
        progress = self._progress
        progress.count(max_steps_extension=progress.state.max_steps_extension + steps)
        progress.show()
        return progress.max_steps

    @extend_steps.validator
    def _check_extend_steps(self, steps: int) -> None:
        if not 0 < steps <= _MOST_STEPS_AT_ONCE:
            raise ApplicationError(
                f"extend_steps: give a number from 1 to {_MOST_STEPS_AT_ONCE}", type="BadSteps"
            )

    async def _opened(self) -> None:
        """Wait for what the run works on to be known."""
        progress = self._progress
        await workflow.wait_condition(lambda: progress.plan is not None or progress.ended)
        if progress.plan is None:
            raise ApplicationError(f"the run has ended before it began: {progress.status}", type="RunOver")

    @workflow.query
    def status(self) -> RunStatus:
        """Status, step, spend against budget and what the run waits for."""
        return self._progress.status_now()
