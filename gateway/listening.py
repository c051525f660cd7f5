"""Listening: who hears an answer while it comes from the provider. The front door's clients do.

A client of the deployment's own family hears the stream block by block, as it came; one of the
other family hears what the answer is made of, as deltas, and has them written in its own words.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from gateway.calls import BudgetLeft, Message
    from gateway.config import Deployment
    from gateway.policy.usage import Usage


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer's text."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """A piece of what the model thinks aloud."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolBegun:
    """The model asks for a tool. position: counts the answer's tool calls from 0."""

    position: int
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class ToolDelta:
    """A piece of the JSON text of a tool call's arguments."""

    position: int
    arguments: str


Delta = TextDelta | ReasoningDelta | ToolBegun | ToolDelta


class Listener(Protocol):
    """Hears the attempts of one call. What it does with the pieces must not fail, but may take its
    time: the provider's stream is read on when it is done."""

    @property
    def begun(self) -> bool:
        """Whether a byte has gone to the client: then no other attempt may answer."""
        ...

    @property
    def wants_deltas(self) -> bool:
        """Whether `deltas` is called for the attempt at hand; else `block` is."""
        ...

    def answering(
        self, deployment: "Deployment", attempt_id: str, *, as_it_is: bool, left: "BudgetLeft | None"
    ) -> None:
        """An attempt begins. as_it_is: in the client's own family, so nothing is translated. left: of the
        budget that has least left while it is held."""
        ...

    async def block(self, raw: bytes, data: str) -> None:
        """A block of the stream, up to its empty line. data: the event's; '' for a comment."""
        ...

    async def deltas(self, deltas: list[Delta]) -> None:
        """What the last block of the stream added to the first choice."""
        ...

    def rendered(self, message: "Message", finish_reason: str, usage: "Usage | None", document: bytes) -> str:
        """The complete answer as this client gets it, where it is wanted whole; else ''.

        document: the provider's own, where it was not streamed.
        """
        ...
