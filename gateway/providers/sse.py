"""Server-sent events, parsed as they arrive (the WHATWG event-stream format)."""

from dataclasses import dataclass

MAX_EVENT_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class SseEvent:
    """One event: its name ('' for a plain message) and its data lines joined by newlines."""

    event: str
    data: str


class SseOverflow(ValueError):
    """One event is larger than 4 MiB."""


class SseParser:
    """Turns chunks of bytes, cut anywhere, into events. Comments (pings of proxies) are dropped."""

    def __init__(self) -> None:
        self._pending = b""
        self._event = ""
        self._data: list[str] = []
        self._size = 0
        self._after_cr = False

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """Return the events that this chunk completes; raises SseOverflow, UnicodeDecodeError."""
        if self._after_cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]
            self._after_cr = False
        if chunk:
            self._after_cr = chunk.endswith(b"\r")
        lines = (self._pending + chunk).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._pending = lines.pop()
        if self._size + len(self._pending) > MAX_EVENT_BYTES:
            raise SseOverflow("an event of the stream is larger than 4 MiB")
        return [event for event in map(self._line, lines) if event is not None]

    def _line(self, line: bytes) -> SseEvent | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value.decode("utf-8"))
            self._size += len(value)
        elif name == b"event":
            self._event = value.decode("utf-8")
        return None

    def _dispatch(self) -> SseEvent | None:
        event = SseEvent(self._event, "\n".join(self._data)) if self._data else None
        self._event, self._data, self._size = "", [], 0
        return event
