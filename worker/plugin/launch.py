"""What a workflow tells its activities about the run that they buy for, in a Temporal header."""

import re
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from temporalio.api.common.v1 import Payload
from temporalio.exceptions import ApplicationError

HEADER = "curb-launch"
MEMO = "curb"
_JSON = {"encoding": b"json/plain"}


class Launch(BaseModel):
    """One run of a framework's agent. budget_usd: dollars as text, '' for the agent's own.

    chain: the first Temporal run id of a workflow that continues as new. ancestors: the run ids above,
    nearest first; budgets: what those were launched with, by run id.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    agent: str = ""
    budget_usd: str = ""
    max_steps: int | None = Field(default=None, gt=0)
    user: str = ""
    team: str = ""
    session: str = ""
    tags: dict[str, str] = Field(default_factory=dict)
    chain: str = ""
    ancestors: tuple[str, ...] = ()
    budgets: dict[str, str] = Field(default_factory=dict)

    def with_memo(self, memo: Mapping[str, object]) -> "Launch":
        """What stands in the memo `curb` wins. Raises ApplicationError for what is no launch."""
        try:
            return Launch.model_validate({**self.model_dump(), **memo})
        except ValidationError as error:
            problems = "; ".join(f"{MEMO}.{_place(each['loc'])}: {each['msg']}" for each in error.errors())
            raise ApplicationError(f"memo {problems}", type="Configuration", non_retryable=True) from error

    def as_header(self) -> dict[str, Payload]:
        return {HEADER: Payload(metadata=_JSON, data=self.model_dump_json(exclude_defaults=True).encode())}


def launch_in(headers: Mapping[str, Payload]) -> Launch | None:
    """The launch that came along, None without one."""
    payload = headers.get(HEADER)
    return None if payload is None else Launch.model_validate_json(payload.data)


def agent_name(written: str) -> str:
    """A workflow type's name as the name of an agent."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", written).lstrip("._-")[:100] or "agent"


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location)
