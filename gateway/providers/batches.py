"""Batches at a provider: what every family's batch API can do, in neutral words."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from gateway.config import FamilyName, Provider
from gateway.policy.usage import Usage
from gateway.providers.http import Http

MOST_RESULT_BYTES = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Told:
    """What a provider says of a batch. document: in its own words. rejected: why it was not taken, '' if it
    was. done, failed: of its requests, as far as it tells."""

    id: str
    ended: bool
    document: Mapping[str, Any]
    rejected: str = ""


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


class BatchApi(Protocol):
    """One family's. Methods raise ProviderError; `findable` says whether `find` can know."""

    family: FamilyName
    findable: bool

    def encode(self, requests: Sequence[tuple[str, bytes]], endpoint: str) -> bytes:
        """What is kept to be sent, of the requests' custom ids and bodies."""
        ...

    async def create(
        self, http: Http, provider: Provider, sending: Sending, *, before_send: Callable[[], None]
    ) -> Told:
        """Hand a batch in. before_send is called right before the request that buys."""
        ...

    async def find(self, http: Http, provider: Provider, marker: str) -> Told | None:
        """The batch that was handed in under this marker, if there is one."""
        ...

    async def look(self, http: Http, provider: Provider, id: str) -> Told: ...
    async def cancel(self, http: Http, provider: Provider, id: str) -> None: ...
    async def results(self, http: Http, provider: Provider, told: Told) -> Results: ...

    def answered(self, results: Results) -> Iterator[Answered]:
        """Who was answered, and is to be paid for. Raises ValueError, LookupError, TypeError for what makes
        no sense."""
        ...
