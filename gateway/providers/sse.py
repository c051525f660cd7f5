"""Server-sent events, parsed as they arrive (the WHATWG event-stream format)."""

from dataclasses import dataclass

MAX_EVENT_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class SseEvent:
    """One event: its name ('' for a plain message) and its data lines joined by newlines.

    raw: the block that it came in, comments too, lines ending in plain newlines.
    """

    event: str
    data: str
    raw: bytes = b""


class SseOverflow(ValueError):
    """One event is larger than 4 MiB."""


class SseParser:
    """Turns chunks of bytes, cut anywhere, into events. Comments (pings of proxies) are dropped.

    raw: keep the blocks; a block of comments alone is then an event without data.
    """

    def __init__(self, *, raw: bool = False) -> None:
        self._raw: list[bytes] | None = [] if raw else None
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
        if self._raw is not None:
            self._raw.append(line)
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value.decode("utf-8"))
            self._size += len(value)
        elif name == b"event":
            self._event = value.decode("utf-8")
        elif self._raw is not None:
            self._size += len(line)
        return None

    def _dispatch(self) -> SseEvent | None:
        raw = self._block()
        event = SseEvent(self._event, "\n".join(self._data), raw) if self._data or raw else None
        self._event, self._data, self._size = "", [], 0
        return event

    def _block(self) -> bytes:
        """The lines since the last empty one; b"" when there were none, or nobody keeps them."""
        if self._raw is None or len(self._raw) == 1:
            self._raw = None if self._raw is None else []
            return b""
        block, self._raw = b"\n".join(self._raw) + b"\n", []
        return block
