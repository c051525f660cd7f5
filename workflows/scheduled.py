"""What the scheduled workflows share: the time that their work is keyed by."""

from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict
from temporalio import workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ApplicationError

_SCHEDULED = SearchAttributeKey.for_datetime("TemporalScheduledStartTime")


class Scheduled(BaseModel):
    """The input of every scheduled workflow; a person may type `{}` in the Temporal UI.

    at: the instant to work for, ISO 8601 with an offset; '' for the time that the schedule named.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: str = ""


def scheduled_at(given: Scheduled) -> datetime:
    """The instant that the work is for, in UTC: the same however often and however late it is done.

    It is the input's, else the schedule's (a trigger: when it was pulled; a backfill: the time that is
    filled in), else the workflow's start. Fails the workflow for an `at` that is no instant.
    """
    if given.at:
        try:
            at = datetime.fromisoformat(given.at)
        except ValueError as error:
            raise ApplicationError(f"at: {error}", type="BadInput", non_retryable=True) from error
        if at.tzinfo is None:
            raise ApplicationError(
                f"at: {given.at} has no offset; write 2026-11-21T00:00:00Z",
                type="BadInput",
                non_retryable=True,
            )
        return at.astimezone(UTC)
    named = workflow.info().typed_search_attributes.get(_SCHEDULED)
    return (named or workflow.info().start_time).astimezone(UTC)
