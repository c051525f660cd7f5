"""Outages: what a whole wire family does while somebody plays that the provider is in trouble.

| mode   | every request of the family, its models list too                   | number (default)      |
|--------|--------------------------------------------------------------------|-----------------------|
| down   | HTTP 503                                                           |                       |
| refuse | the connection is closed without an answer                         |                       |
| hang   | nothing is said until the outage ends                              |                       |
| slow   | answered as ever, but late                                         | milliseconds (2000)   |

`PUT /outages/openai` or `/outages/anthropic` with `{"mode": "down"}` begins one, `DELETE` ends it, `GET
/outages` shows them. They bill nothing, do not touch answers that are under way, and end with the process.
"""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from aiohttp import web

Mode = Literal["down", "refuse", "hang", "slow"]
MODES = ("down", "refuse", "hang", "slow")
FAMILIES = ("openai", "anthropic")
_LONGEST_HANG_SECONDS = 600.0
_MOST_MILLISECONDS = 600_000


class NoOutage(ValueError):
    """What was asked for is no outage; the message says what is."""


@dataclass(frozen=True, slots=True)
class Outage:
    """One family's trouble; `over` is set when it ends."""

    mode: Mode
    milliseconds: int = 2_000
    over: asyncio.Event = field(default_factory=asyncio.Event, compare=False)

    def as_json(self) -> dict[str, Any]:
        return {"mode": self.mode} | ({"milliseconds": self.milliseconds} if self.mode == "slow" else {})


class Outages:
    """The outages that are being played, by family."""

    def __init__(self) -> None:
        self._playing: dict[str, Outage] = {}

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/outages", self._show),
            web.put("/outages/{family}", self._begin),
            web.delete("/outages/{family}", self._end),
        ]

    async def suffer(self, request: web.Request, family: str) -> bool:
        """Let the outage of this family, if there is one, happen to a request; True: answer it with 503."""
        outage = self._playing.get(family)
        if outage is None:
            return False
        if outage.mode == "hang":
            await _until_over(outage, _LONGEST_HANG_SECONDS)
        elif outage.mode == "slow":
            await _until_over(outage, outage.milliseconds / 1000)
        elif outage.mode == "refuse" and request.transport is not None:
            request.transport.close()
        return outage.mode in ("down", "refuse")

    async def _show(self, request: web.Request) -> web.Response:
        return web.json_response({name: each.as_json() for name, each in sorted(self._playing.items())})

    async def _begin(self, request: web.Request) -> web.Response:
        try:
            family, outage = _family(request), _read(await request.read())
        except NoOutage as error:
            return web.json_response({"error": str(error)}, status=400)
        self._stop(family)
        self._playing[family] = outage
        return await self._show(request)

    async def _end(self, request: web.Request) -> web.Response:
        try:
            self._stop(_family(request))
        except NoOutage as error:
            return web.json_response({"error": str(error)}, status=400)
        return await self._show(request)

    def _stop(self, family: str) -> None:
        if (outage := self._playing.pop(family, None)) is not None:
            outage.over.set()


def _family(request: web.Request) -> str:
    name = request.match_info["family"]
    if name not in FAMILIES:
        raise NoOutage(f"{name!r} is no family: {', '.join(FAMILIES)}")
    return name


def _read(raw: bytes) -> Outage:
    try:
        asked = json.loads(raw or b"{}")
    except ValueError as error:
        raise NoOutage(f"that is no JSON: {error}") from error
    mode = asked.get("mode") if isinstance(asked, dict) else None
    if mode not in MODES:
        raise NoOutage(f"mode {mode!r} is none of {', '.join(MODES)}")
    late = asked.get("milliseconds", 2_000)
    if not isinstance(late, int) or not 0 <= late <= _MOST_MILLISECONDS:
        raise NoOutage(f"milliseconds: a whole number up to {_MOST_MILLISECONDS}, please")
    return Outage(cast(Mode, mode), late)


async def _until_over(outage: Outage, seconds: float) -> None:
    try:
        await asyncio.wait_for(outage.over.wait(), seconds)
    except TimeoutError:
        return
