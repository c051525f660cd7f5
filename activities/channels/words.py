"""The words of a message as every channel needs them: clean, on one line where it must be, cut to fit.

Pure: what comes in may hold any characters at all (names of tools and agents, answers of servers).
"""

import hashlib
import re
from collections.abc import Callable
from urllib.parse import urlsplit

from activities.channels.message import Message

_BEFORE_TITLE = {
    "firing": "",
    "repeated": "Still: ",
    "escalated": "Escalated: ",
    "resolved": "Resolved: ",
    "report": "",
    "test": "Test: ",
}
_LINE_ENDS = re.compile(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]")
# Control characters, and those that reverse the direction of what follows them (or stand for nothing).
_UNSEEN = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff]")
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")
_PLAIN_KEY = re.compile(r"[A-Za-z0-9._:@/+-]+")
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9._:@/+-]")
_HALVES = re.compile(r"[\ud800-\udfff]")
_ELLIPSIS = "…"


def clean(text: str) -> str:
    """Lines of text without control characters; halves of surrogate pairs become U+FFFD."""
    return _HALVES.sub("\ufffd", _UNSEEN.sub("", _LINE_ENDS.sub("\n", text)))


def one_line(text: str) -> str:
    """The same on one line, without space at the ends."""
    return " ".join(clean(text).split())


def headline(message: Message) -> str:
    """The title with what kind of message it is; never empty."""
    return _BEFORE_TITLE[message.kind] + (one_line(message.title) or "curb")


def field_lines(message: Message) -> list[str]:
    """`name: value`, one line each."""
    return [f"{one_line(name)}: {one_line(value)}" for name, value in message.fields]


def web_links(message: Message) -> list[tuple[str, str]]:
    """(words, URL) of the links that a browser can open."""
    cleaned = [(one_line(words) or "Open", _openable(url)) for words, url in message.links]
    return [(words, url) for words, url in cleaned if url]


def plain_text(message: Message) -> str:
    """All of it as plain text, for a reader without any markup."""
    links = [f"{words}: {url}" for words, url in web_links(message)]
    parts = (clean(message.text).strip(), "\n".join(field_lines(message)), "\n".join(links))
    return "\n\n".join(part for part in parts if part) or headline(message)


def delivery_id(message: Message) -> str:
    """What is the same exactly when a delivery is tried again: 32 hexadecimal digits."""
    return _digest(message.key, message.kind, str(message.number))


def thread_id(message: Message) -> str:
    """What all messages about one thing have in common: 32 hexadecimal digits."""
    return _digest(message.key)


def joining_key(key: str, limit: int) -> str:
    """The key as services take one: a plain word of at most `limit` characters. One that is not keeps
    what it can of its beginning and ends in a digest."""
    if len(key) <= limit and _PLAIN_KEY.fullmatch(key):
        return key
    digest = _digest(key)
    return f"{_NOT_PLAIN.sub('_', key)[: limit - len(digest) - 1]}:{digest}"


def is_address(text: str) -> bool:
    """Whether mail can be sent there: an ASCII address without a display name."""
    return _ADDRESS.fullmatch(text) is not None


def one_each(character: str) -> int:
    """The cost of a character where characters are counted."""
    return 1


def utf8_bytes(character: str) -> int:
    """The cost of a character where bytes are counted."""
    return len(character.encode())


def utf16_units(character: str) -> int:
    """The cost of a character where a service counts as JavaScript does."""
    return 2 if ord(character) > 0xFFFF else 1


def shortened(text: str, limit: int, cost: Callable[[str], int] = one_each) -> str:
    """As much as costs at most `limit`; ends in … where something was left out."""
    room, used, fits = limit - cost(_ELLIPSIS), 0, 0
    for position, character in enumerate(text, start=1):
        used += cost(character)
        if used <= room:
            fits = position
        elif used > limit:
            return text[:fits].rstrip() + _ELLIPSIS
    return text


def _openable(url: str) -> str:
    """The URL without white space; '' for what is no web address."""
    joined = "".join(clean(url).split())
    try:
        parts = urlsplit(joined)
    except ValueError:
        return ""
    return joined if parts.scheme in ("http", "https") and parts.netloc else ""


def _digest(*parts: str) -> str:
    return hashlib.sha256("\x00".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]
