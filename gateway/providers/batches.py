"""Batches at a provider: what every family's batch API can do, in neutral words."""

import io
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from gateway.config import FamilyName, Provider
from gateway.policy.usage import Usage
from gateway.providers.http import Http

NO_SENSE = (ValueError, LookupError, TypeError, AttributeError)
"""What reading something that is not what it should be raises."""
MOST_RESULT_BYTES = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Told:
    """What a provider says of a batch. document: in its own words. rejected: why it was not taken, '' if it
    was. answered: how many of its requests have an answer, and a price."""

    id: str
    ended: bool
    document: Mapping[str, Any]
    rejected: str = ""
    answered: int = 0


@dataclass(frozen=True, slots=True)
class Results:
    """The files of results as they came: of requests that were answered, and of those that were not."""

    output: bytes = b""
    errors: bytes = b""


@dataclass(frozen=True, slots=True)
class Answered:
    """The usage of one answered request; None where its answer carries none that can be read."""

    custom_id: str
    usage: Usage | None


@dataclass(frozen=True, slots=True)
class Sending:
    """A batch on its way out. upload: as `encode` made it. marker: finds it again at the provider."""

    endpoint: str
    upload: bytes
    marker: str
    attempt_id: str
    headers: Mapping[str, str] = field(default_factory=dict)


Begin = Callable[[], Awaitable[Callable[[], None]]]
"""Awaited when only the request that buys is left to be sent; what it gives is called right before that."""


class BatchApi(Protocol):
    """One family's. Methods raise ProviderError; `findable` says whether `find` can know."""

    family: FamilyName
    findable: bool

    def encode(self, requests: Sequence[tuple[str, bytes]], endpoint: str) -> bytes:
        """What is kept to be sent, of the requests' custom ids and bodies."""
        ...

    async def create(self, http: Http, provider: Provider, sending: Sending, *, begin: Begin) -> Told:
        """Hand a batch in, all of it with one key. Raises also what begin raises: nothing was bought then."""
        ...

    async def find(self, http: Http, provider: Provider, marker: str, since: datetime) -> Told | None:
        """The batch that was handed in under this marker, not before `since`, if there is one: with no key of
        the provider's it is to be seen."""
        ...

    async def look(self, http: Http, provider: Provider, id: str) -> Told: ...
    async def cancel(self, http: Http, provider: Provider, id: str) -> None: ...
    async def results(self, http: Http, provider: Provider, told: Told) -> Results: ...

    def answered(self, results: Results) -> Iterator[Answered]:
        """Who was answered, and is to be paid for; what makes no sense may be an answer, too."""
        ...


def lines_of(content: bytes) -> Iterator[bytes]:
    """Those with something in them. Without a copy of the whole, which may be large."""
    for line in io.BytesIO(content):
        if line.strip():
            yield line


def count_of(document: Mapping[str, Any], name: str) -> int:
    """One of a batch's `request_counts`; 0 where the provider does not tell."""
    counts = document.get("request_counts")
    count = counts.get(name) if isinstance(counts, Mapping) else None
    return count if isinstance(count, int) and count > 0 else 0
