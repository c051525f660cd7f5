"""The types that callers of providers use: Family, Http, Hearing, Progress, ProviderAnswer, Partial."""

from collections.abc import Callable
from typing import Protocol

from gateway.calls import ModelRequest, WireRequest
from gateway.config import Api, Deployment, FamilyName, Provider
from gateway.providers.answers import Partial, Progress, ProviderAnswer
from gateway.providers.exchange import Hearing
from gateway.providers.http import Http

__all__ = ["Families", "Family", "Hearing", "Http", "Partial", "Progress", "ProviderAnswer"]


class Family(Protocol):
    """One wire format, whoever speaks it."""

    @property
    def name(self) -> FamilyName: ...
    @property
    def api(self) -> Api: ...

    def encode(self, request: ModelRequest, deployment: Deployment, max_output_tokens: int) -> bytes:
        """Return the JSON body in UTF-8: streaming on, usage asked for, the output limit set.

        Raises ProviderError (invalid_request, not sent) for what the family cannot express.
        """
        ...

    def pass_on(self, request: WireRequest, deployment: Deployment, max_output_tokens: int) -> bytes:
        """Return the client's own document as the body: what curb must set is set, the rest as it is."""
        ...

    async def send(
        self,
        http: Http,
        provider: Provider,
        deployment: Deployment,
        body: bytes,
        *,
        attempt_id: str,
        timeout_seconds: float,
        before_send: Callable[[], None],
        progress: Progress | None = None,
        hearing: Hearing | None = None,
    ) -> ProviderAnswer:
        """Send the body and read the answer to its end, within timeout_seconds in all.

        before_send is called once a connection is in hand, right before the first byte is written;
        what it raises is passed on, and the request is then not sent. `progress` is kept up to date
        and stays true after cancellation, which closes the connection at once. `hearing.listener`
        hears the stream while it comes. Raises ProviderError.
        """
        ...


class Families(Protocol):
    """Finds the family for a name, and for one of its APIs; gateway.providers.family is one."""

    def __call__(self, name: FamilyName, api: Api = "chat") -> Family: ...
