"""Top-ups: more money for a scope, by the update `top_up` of any run."""

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.messages import TopUp, TopUpDone, TopUpTask
    from activities.runs import RunActivities
    from gateway.policy.money import MoneyError, usd
    from workflows.records import on_record


def check_top_up(amount: TopUp | str) -> None:
    """Reject what is no positive amount of dollars, before it is in history."""
    try:
        value = usd(_top_up(amount).usd)
    except MoneyError as error:
        raise ApplicationError(f"top_up: {error}", type="BadTopUp") from error
    if value <= 0:
        raise ApplicationError("top_up: the amount must be more than $0", type="BadTopUp")


async def raise_budget(run_id: str, amount: TopUp | str) -> TopUpDone:
    """Raise the limit of the run, or of the scope that the top-up names; once per update id."""
    info = workflow.current_update_info()
    return await on_record(
        RunActivities.top_up,
        TopUpTask(run_id=run_id, top_up_id=info.id if info else "", top_up=_top_up(amount)),
    )


def with_note(done: TopUpDone, blocked: str) -> TopUpDone:
    """Say so when this was not the budget that the run waits for (`blocked`: '' for none)."""
    if not blocked or done.scope in blocked:
        return done
    note = f"the run still waits: {blocked}. Name that scope in the top-up to raise it"
    return done.model_copy(update={"note": note})


def _top_up(amount: TopUp | str) -> TopUp:
    return amount if isinstance(amount, TopUp) else TopUp(usd=amount)
