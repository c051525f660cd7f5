"""Model names and what they make the model do: `MODEL[@SCRIPT[+MANNER...]]`.

Priced as MODEL. A script says what the model answers, a manner how the wire behaves; numbers follow
after dashes, and any manner may end in `-once`: it then happens to the first request of a call only
(told by X-Client-Request-Id, whose part after the last # is the attempt's number).

| script         | answers                                                    | numbers (defaults)         |
|----------------|------------------------------------------------------------|----------------------------|
| steady (none)  | a worker: lists, reads, writes if it may, a final answer   | steps (4)                  |
| long           | the same, for long                                         | steps (300)                |
| spend          | the same, with long texts that cost money                  | tokens (1000), steps (6)   |
| think          | the same, reasoning before each answer                     | tokens (64), steps (4)     |
| loop           | the same tool with the same arguments, for ever            |                            |
| alternate      | two calls in turn, A-B-A-B, for ever                       |                            |
| grow           | texts that double, ever more reads at once, for ever       | tokens at first (400)      |
| repeat         | a long text that hardly changes, varying calls, for ever   | tokens (120)               |
| ask            | asks a person (ask_human), then answers                    |                            |
| delegate       | hands over to the first agent offered, then answers        |                            |
| stray          | calls a tool that nobody offered, then answers             |                            |
| say            | a text and nothing else, whatever the tools                | tokens (32)                |

| manner         | the wire                                                   | number (default)           |
|----------------|------------------------------------------------------------|----------------------------|
| slow-first     | the first token comes late                                 | milliseconds (2000)        |
| slow-stream    | every token comes late                                     | milliseconds a token (50)  |
| hang           | says nothing more                                          | after tokens (0)           |
| cut            | the connection is cut                                      | after tokens (half of them) |
| cut-final      | cut after the last token, before the usage                 |                            |
| error          | an error event in mid-stream                               | after tokens (half of them) |
| bad-json       | an event in mid-stream that is no JSON                     |                            |
| no-usage       | the answer carries no usage                                |                            |
| bad-usage      | the answer's usage is negative                             |                            |
| wrong-usage    | half of the billed output tokens are reported              |                            |
| refuse-late    | breaks off as refused (content_filter, refusal)            | after tokens (half of them) |
| 429            | HTTP 429 with Retry-After                                  | seconds (1)                |
| 500, 503       | HTTP 500, 503                                              |                            |
| overloaded     | HTTP 529 (Anthropic), 503 (OpenAI)                         |                            |
| auth           | HTTP 401                                                   |                            |
| invalid        | HTTP 400                                                   |                            |
| context-length | HTTP 400, prompt too long                                  |                            |
| refuse         | HTTP 400, content refused                                  |                            |

A manner may stand alone: `gpt-5-mini@cut-once` is a steady worker. HTTP errors bill nothing.
"""

import re
from dataclasses import dataclass

SCRIPTS: dict[str, tuple[int, ...]] = {
    "steady": (4,),
    "long": (300,),
    "spend": (1000, 6),
    "think": (64, 4),
    "loop": (),
    "alternate": (),
    "grow": (400,),
    "repeat": (120,),
    "ask": (),
    "delegate": (),
    "stray": (),
    "say": (32,),
}
HTTP_ERRORS: dict[str, tuple[int, ...]] = {
    "429": (1,),
    "500": (),
    "503": (),
    "overloaded": (),
    "auth": (),
    "invalid": (),
    "context-length": (),
    "refuse": (),
}
HALF = -1
MANNERS: dict[str, tuple[int, ...]] = HTTP_ERRORS | {
    "slow-first": (2000,),
    "slow-stream": (50,),
    "hang": (0,),
    "cut": (HALF,),
    "cut-final": (),
    "error": (HALF,),
    "bad-json": (),
    "no-usage": (),
    "bad-usage": (),
    "wrong-usage": (),
    "refuse-late": (HALF,),
}
_PART = re.compile(
    rf"(?P<name>{'|'.join(map(re.escape, sorted({**SCRIPTS, **MANNERS}, key=len, reverse=True)))})"
    r"(?P<numbers>(-\d{1,7})*)(?P<once>-once)?"
)


class UnknownBehaviour(ValueError):
    """The part of a model name after @ is none of the behaviours."""


@dataclass(frozen=True, slots=True)
class Part:
    """One script or manner with its numbers, defaults filled in."""

    name: str
    numbers: tuple[int, ...]
    once: bool = False


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a model name makes of a request."""

    base: str
    script: Part
    manners: tuple[Part, ...]

    def manner(self, name: str) -> Part | None:
        return next((part for part in self.manners if part.name == name), None)

    def number(self, name: str) -> int | None:
        """The number of a manner; None where the model has not got it."""
        part = self.manner(name)
        return part.numbers[0] if part else None


def parse(model: str) -> Behaviour:
    """Read `gpt-5-mini@steady-5+slow-stream-20`. Raises UnknownBehaviour."""
    base, _, suffix = model.partition("@")
    parts = [_part(text) for text in suffix.split("+") if text]
    scripts = [part for part in parts if part.name in SCRIPTS]
    manners = tuple(part for part in parts if part.name in MANNERS)
    if len(scripts) > 1:
        raise UnknownBehaviour(f"{model}: one script, please, not {len(scripts)}")
    return Behaviour(base, scripts[0] if scripts else Part("steady", SCRIPTS["steady"]), manners)


def _part(text: str) -> Part:
    match = _PART.fullmatch(text)
    if match is None:
        raise UnknownBehaviour(f"{text!r} is none of {', '.join([*SCRIPTS, *MANNERS])}")
    name = match["name"]
    defaults = SCRIPTS.get(name, MANNERS.get(name, ()))
    given = tuple(int(number) for number in match["numbers"].split("-") if number)
    if len(given) > len(defaults):
        raise UnknownBehaviour(f"{text!r}: {name} takes {len(defaults)} numbers")
    return Part(name, given + defaults[len(given) :], bool(match["once"]))
