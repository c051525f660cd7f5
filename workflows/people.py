"""What a run asks of people: approvals of tool calls, answers to questions, more money."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.messages import Escalation, ToolRef
    from activities.runs import RunActivities
    from workflows.messages import Answer, Deny
    from workflows.progress import Progress
    from workflows.records import on_record
    from workflows.supervision import RunOver

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person said about a tool call."""

    approved: bool
    reason: str = ""


class Requests(Generic[_T]):
    """What people were asked about tool calls. `changed` is called with the calls still open."""

    def __init__(self, changed: Callable[[list[ToolRef]], None]) -> None:
        self._calls: dict[str, ToolRef] = {}
        self._answers: dict[str, _T] = {}
        self._changed = changed

    @property
    def open(self) -> list[str]:
        """Ids of the tool calls that wait for people, oldest first."""
        return [id for id in self._calls if id not in self._answers]

    def put(self, call: ToolRef) -> None:
        """Ask about a call."""
        self._calls[call.id] = call
        self._tell()

    def answer(self, id: str, answer: _T) -> None:
        """A person's answer to one that is open."""
        self._answers[id] = answer
        self._tell()

    async def take(self, id: str, seconds: float) -> _T:
        """Wait for the answer and forget the request. Raises TimeoutError."""
        try:
            await workflow.wait_condition(lambda: id in self._answers, timeout=seconds)
            return self._answers[id]
        finally:
            self._calls.pop(id, None)
            self._answers.pop(id, None)
            self._tell()

    def _tell(self) -> None:
        self._changed([self._calls[id] for id in self.open])


class People:
    """Asks people and waits for what they say, at most the plan's `max_wait_seconds`."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._approvals: Requests[Decision] = Requests(self._approvals_changed)
        self._questions: Requests[Answer] = Requests(self._questions_changed)

    async def approval(self, call: ToolRef) -> Decision:
        """May this call be made? Raises RunOver when nobody says in time."""
        return await self._ask(self._approvals, "approval", call, f"may it call {call.name}?")

    async def answer(self, call: ToolRef) -> Answer:
        """The answer to the question in this call. Raises RunOver when nobody answers in time."""
        return await self._ask(self._questions, "question", call, "a question to a person")

    async def escalate(
        self,
        kind: Literal["budget", "approval", "question"],
        key: str,
        detail: str,
        call: ToolRef | None = None,
    ) -> None:
        """Tell people that they are needed, once per key."""
        me = workflow.info().workflow_id
        await on_record(
            RunActivities.escalate, Escalation(run_id=me, kind=kind, key=key, detail=detail, call=call)
        )

    async def _ask(
        self, requests: Requests[_T], kind: Literal["approval", "question"], call: ToolRef, detail: str
    ) -> _T:
        requests.put(call)  # first, so that whoever reads the escalation can answer it
        await self.escalate(kind, f"{kind}:{call.item}:{call.id}", detail, call)
        patience = self._progress.opened.max_wait_seconds
        try:
            return await requests.take(call.id, patience)
        except TimeoutError as error:
            raise RunOver("expired", f"nobody answered within {patience:g} s: {detail}") from error

    # -- what people say -----------------------------------------------------------------------

    def decide(self, id: str, decision: Decision) -> None:
        self._approvals.answer(id, decision)

    def check_decision(self, id: str) -> None:
        """Reject a decision about a call that does not wait for one."""
        waiting = self._approvals.open
        if id not in waiting:
            raise ApplicationError(
                f"{id!r} does not wait for approval; waiting: {_listed(waiting)}", type="NoApproval"
            )

    def reply(self, answer: Answer) -> None:
        self._questions.answer(answer.question or self._questions.open[0], answer)

    def check_reply(self, answer: Answer) -> None:
        """Reject an answer to no question, to one that is not open, or to an unclear one."""
        waiting = self._questions.open
        if not waiting:
            raise ApplicationError("answer: the run has no open question", type="NoQuestion")
        if answer.question and answer.question not in waiting:
            raise ApplicationError(
                f"answer: question {answer.question!r} is not open; open: {_listed(waiting)}",
                type="NoQuestion",
            )
        if not answer.question and len(waiting) > 1:
            raise ApplicationError(
                f"answer: say which question, open are {_listed(waiting)}", type="NoQuestion"
            )

    # -- what the run waits for ----------------------------------------------------------------

    def _approvals_changed(self, calls: list[ToolRef]) -> None:
        self._show("approval", ", ".join(f"approval of {call.name} ({call.id})" for call in calls))

    def _questions_changed(self, calls: list[ToolRef]) -> None:
        ids = ", ".join(call.id for call in calls)
        self._show("question", f"an answer to its question ({ids}); see `curb show`" if ids else "")

    def _show(self, cause: str, text: str) -> None:
        if text:
            self._progress.waiting.set(cause, text)
        else:
            self._progress.waiting.clear(cause)


def as_denial(given: Deny | str) -> Deny:
    """What a person may have typed as the argument of `deny`."""
    return given if isinstance(given, Deny) else Deny(call=given)


def as_answer(given: Answer | str) -> Answer:
    """What a person may have typed as the argument of `answer`."""
    return given if isinstance(given, Answer) else Answer(text=given)


def _listed(ids: list[str]) -> str:
    return ", ".join(ids) or "none"
