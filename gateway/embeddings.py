"""One embedding call of curb's own: held, booked and switched off like any other.

embedded = await embed(gateway, caller, "openai/text-embedding-3-small", ["some words"], key="...")
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gateway.calls import BudgetLeft, Call, Caller, Message, ModelRequest, Untranslatable, WireRequest
from gateway.config import Deployment
from gateway.listening import Delta
from gateway.policy.money import NanoUsd
from gateway.policy.refusals import Refusal
from gateway.policy.usage import Usage
from gateway.providers.wire_json import loads

if TYPE_CHECKING:
    from gateway.gateway import Gateway

Vector = tuple[float, ...]
ENDPOINT = "/v1/embeddings"


@dataclass(frozen=True, slots=True)
class Embedded:
    """One vector per text, in their order, and what they cost together."""

    vectors: tuple[Vector, ...]
    cost_nano_usd: NanoUsd
    attempt_id: str


async def embed(
    gateway: "Gateway",
    caller: Caller,
    deployment: str,
    texts: Sequence[str],
    *,
    key: str,
    dimensions: int | None = None,
    timeout_seconds: float = 10.0,
) -> Embedded | Refusal:
    """Make vectors of texts, as this caller, under this call key.

    deployment: one of `kind: embedding`, or a tier of such. dimensions: of the vectors, as many as it makes
    by itself without. Raises ProviderError, StoreUnavailable,
    and ValueError for an answer that is none.
    """
    document: dict[str, Any] = {"input": list(texts), "model": deployment, "encoding_format": "float"}
    if dimensions is not None:
        document["dimensions"] = dimensions
    request = WireRequest(
        family="openai",
        document=document,
        neutral=_no_other_way,
        streamed=False,
        max_output_tokens=0,
        api="embeddings",
    )
    call = Call(
        key=key,
        caller=replace(caller, endpoint=ENDPOINT),
        request=request,
        tier=deployment,
        timeout_seconds=timeout_seconds,
        total_timeout_seconds=timeout_seconds,
        listener=_Whole(),
        keep=False,
    )
    outcome = await gateway.complete(call)
    if isinstance(outcome, Refusal):
        return outcome
    vectors = _vectors(outcome.rendered, len(texts))
    return Embedded(vectors, outcome.cost_nano_usd, outcome.attempt_id)


def _vectors(document: str, count: int) -> tuple[Vector, ...]:
    data = sorted(loads(document)["data"], key=lambda each: int(each["index"]))
    if len(data) != count:
        raise ValueError(f"{len(data)} embeddings came for {count} texts")
    return tuple(tuple(map(float, each["embedding"])) for each in data)


def _no_other_way() -> ModelRequest:
    raise Untranslatable("there is no other way to ask for embeddings")


class _Whole:
    """Keeps the provider's document; see gateway.listening.Listener."""

    begun = False
    wants_deltas = False

    def answering(
        self, deployment: Deployment, attempt_id: str, *, as_it_is: bool, left: BudgetLeft | None
    ) -> None: ...

    async def block(self, raw: bytes, data: str) -> None: ...

    async def deltas(self, deltas: list[Delta]) -> None: ...

    def rendered(self, message: Message, finish_reason: str, usage: Usage | None, document: bytes) -> str:
        return document.decode()
