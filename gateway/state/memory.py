"""What a process remembers, in case Redis forgets: its undrained events and its live reservations."""

from collections import deque
from dataclasses import dataclass
from typing import Any

from gateway.events import Event, EventKind
from gateway.plain_json import loads
from gateway.state.values import Reservation

CAPACITY = 50_000


@dataclass(frozen=True, slots=True)
class Record:
    """An event as it went into the outbox: the body still as text, the rest beside it."""

    kind: EventKind
    body: str
    epoch: int
    seq: int
    at_ms: int
    day: str = ""
    attempt_id: str = ""
    number: str = ""
    counters: str = ""
    id: str = ""

    def as_event(self) -> Event:
        """The event with what the authority decided merged into its body."""
        body: dict[str, Any] = loads(self.body)
        if self.attempt_id:
            body["attempt_id"] = self.attempt_id
        if self.kind in ("reserved", "refused"):
            body["number"] = int(self.number or 0)
            body["counters"] = loads(self.counters or "[]")
        return Event(self.kind, body, self.epoch, self.seq, self.at_ms, self.day, self.id)


class Memory:
    """Bounded: past the capacity the oldest copies go first, and are counted in `dropped`."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._records: deque[Record] = deque(maxlen=capacity)
        self._live: dict[str, Reservation] = {}
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._records)

    def remember(self, record: Record) -> None:
        if len(self._records) == self._records.maxlen:
            self.dropped += 1
        self._records.append(record)

    def hold(self, reservation: Reservation) -> None:
        self._live[reservation.attempt_id] = reservation

    def let_go(self, attempt_id: str) -> None:
        """The attempt is not pending any more (or its end has been written elsewhere)."""
        self._live.pop(attempt_id, None)

    def note_drained(self, epoch: int, seq: int) -> None:
        """Everything up to this place is in Postgres."""
        while self._records and (self._records[0].epoch, self._records[0].seq) <= (epoch, seq):
            self._records.popleft()

    def undrained(self) -> list[Event]:
        """Copies of this process's events that are perhaps not in Postgres yet, oldest first."""
        return [record.as_event() for record in self._records]

    def live(self) -> list[Reservation]:
        """Reservations that this process holds and has not ended."""
        return list(self._live.values())
