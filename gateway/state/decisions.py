"""The order of decisions: which (epoch, seq) this process has seen, and whether admission is open."""

from collections.abc import Callable
from typing import Any

from gateway.errors import StateUnavailable
from gateway.plain_json import dumps
from gateway.state.connection import Connection

Place = tuple[int, int]


class AdmissionClosed(StateUnavailable):
    """Redis answers, but its budgets are not to be trusted until they are rebuilt."""


class Decisions:
    """Runs the scripts that decide, each with the highest place this process has seen.

    Redis that answers from before that place has lost writes; the script then closes admission.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.on_closed: Callable[[str], None] | None = None
        self._seen: Place = (0, 0)
        self._known_closed = False

    @property
    def seen(self) -> Place:
        """The highest (epoch, seq) that any reply or the ledger has shown."""
        return self._seen

    def note_seen(self, epoch: int, seq: int) -> None:
        """Tell of a place known from elsewhere, for example from Postgres at the start."""
        self._seen = max(self._seen, (epoch, seq))

    async def decide(self, name: str, ask: dict[str, Any], *texts: str) -> list[str]:
        """Run a script that answers [status, epoch, seq, ...].

        Raises AdmissionClosed, StateUnavailable, InvalidArgument.
        """
        ask["seen"] = self._seen
        reply: list[str] = await self.connection.run(name, dumps(ask), *texts)
        if reply[0] == "closed":
            self._notice_closed(reply[3])
            raise AdmissionClosed(f"admission is closed: {reply[3]}")
        self._known_closed = False
        self.note_seen(int(reply[1]), int(reply[2]))
        return reply

    def _notice_closed(self, reason: str) -> None:
        if self._known_closed:
            return
        self._known_closed = True
        if self.on_closed is not None:
            self.on_closed(reason)
