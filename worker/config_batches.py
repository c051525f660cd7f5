"""`batches:` in curb.yaml: many requests at half the price, in the provider's own time."""

from pydantic import Field

from gateway.config import BatchRules
from worker.config_values import Seconds, Section


class BatchesSection(Section):
    """poll: how often one is looked at. most_requests: in one."""

    poll: Seconds = Field(default=30.0, gt=0)
    most_requests: int = Field(default=10_000, ge=1, le=50_000)


def batch_rules(section: BatchesSection, keep_file_seconds: float | None) -> BatchRules:
    """What the section comes to. keep_file_seconds: as retention has it, None for ever."""
    return BatchRules(
        poll_seconds=section.poll, most_requests=section.most_requests, keep_file_seconds=keep_file_seconds
    )
