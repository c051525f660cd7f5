"""The usage and cost APIs of OpenAI and Anthropic, of the documented shape, over requests that a test bills.

Both aggregate what `billed` holds: pages of buckets, empty ones too, grouped and filtered as asked. Keys
are checked, limits are those of the documentation, and `busy` makes the next answers 429.
"""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

WIDTHS = {"1m": timedelta(minutes=1), "1h": timedelta(hours=1), "1d": timedelta(days=1)}
MOST = {"1m": 1440, "1h": 168, "1d": 31}
USUAL = {"1m": 60, "1h": 24, "1d": 7}
ADMIN_KEY = "admin-key-of-the-test"


@dataclass(frozen=True)
class Billed:
    """One request as the provider billed it. input: neither cached nor written to the cache."""

    at: datetime
    model: str
    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    nano_usd: int = 0
    key_id: str = "key_curb"


@dataclass
class UsageServer:
    """Both APIs. asked: the paths and parameters of all requests. busy: how many answers are still 429."""

    url: str = ""
    billed: list[Billed] = field(default_factory=list)
    asked: list[tuple[str, dict[str, list[str]]]] = field(default_factory=list)
    busy: int = 0

    def app(self) -> web.Application:
        app = web.Application()
        for path, answer in (
            ("/v1/organization/usage/completions", self._openai_usage),
            ("/v1/organization/costs", self._openai_costs),
            ("/v1/organizations/usage_report/messages", self._anthropic_usage),
            ("/v1/organizations/cost_report", self._anthropic_costs),
        ):
            app.router.add_get(path, self._guarded(answer))
        return app

    def _guarded(self, answer: Callable[["Asked"], dict[str, Any]]) -> Any:
        async def handle(request: web.Request) -> web.Response:
            given = {name: request.query.getall(name) for name in request.query}
            self.asked.append((request.path, given))
            if self.busy:
                self.busy -= 1
                return web.json_response({"error": "slow down"}, status=429, headers={"retry-after": "0"})
            bearer, key = request.headers.get("authorization"), request.headers.get("x-api-key")
            anthropic = "/organizations/" in request.path
            if (key if anthropic else (bearer or "").removeprefix("Bearer ")) != ADMIN_KEY:
                return web.json_response({"error": {"message": "no admin key"}}, status=401)
            if anthropic and request.headers.get("anthropic-version") != "2023-06-01":
                return web.json_response({"error": {"message": "anthropic-version"}}, status=400)
            try:
                return web.json_response(answer(Asked(given, anthropic)))
            except (KeyError, ValueError) as error:
                return web.json_response({"error": {"message": repr(error)}}, status=400)

        return handle

    def _openai_usage(self, asked: "Asked") -> dict[str, Any]:
        def result(model: str | None, rows: list[Billed]) -> dict[str, Any]:
            return {
                "object": "organization.usage.completions.result",
                "input_tokens": sum(row.input + row.cache_read + row.cache_write for row in rows),
                "output_tokens": sum(row.output for row in rows),
                "input_cached_tokens": sum(row.cache_read for row in rows),
                "input_audio_tokens": None,
                "num_model_requests": len(rows),
                "model": model,
                "project_id": None,
                "batch": None,
            }

        return self._page(asked, asked.groups(self.billed), result, "object")

    def _anthropic_usage(self, asked: "Asked") -> dict[str, Any]:
        def result(model: str | None, rows: list[Billed]) -> dict[str, Any]:
            written = sum(row.cache_write for row in rows)
            return {
                "uncached_input_tokens": sum(row.input for row in rows),
                "cache_creation": {
                    "ephemeral_5m_input_tokens": written // 2,
                    "ephemeral_1h_input_tokens": written - written // 2,
                },
                "cache_read_input_tokens": sum(row.cache_read for row in rows),
                "output_tokens": sum(row.output for row in rows),
                "server_tool_use": {"web_search_requests": 0},
                "api_key_id": None,
                "workspace_id": None,
                "model": model,
                "service_tier": None,
                "context_window": None,
            }

        return self._page(asked, asked.groups(self.billed), result)

    def _openai_costs(self, asked: "Asked") -> dict[str, Any]:
        def result(model: str | None, rows: list[Billed]) -> dict[str, Any]:
            dollars = sum(row.nano_usd for row in rows) / 1e9
            amount = {"value": dollars, "currency": "usd"}
            return {"object": "organization.costs.result", "amount": amount, "line_item": None}

        return self._page(asked, asked.groups(self.billed), result, "object", most=180)

    def _anthropic_costs(self, asked: "Asked") -> dict[str, Any]:
        if asked.key_ids:
            raise ValueError("api_key_ids: the cost report knows no keys")

        def result(model: str | None, rows: list[Billed]) -> dict[str, Any]:
            nano = sum(row.nano_usd for row in rows)
            return {"amount": f"{nano // 10**7}.{nano % 10**7:07d}", "currency": "USD", "description": None}

        return self._page(asked, asked.groups(self.billed), result)

    def _page(
        self,
        asked: "Asked",
        groups: Callable[[datetime, datetime], Iterable[tuple[str | None, list[Billed]]]],
        result: Callable[[str | None, list[Billed]], dict[str, Any]],
        kind: str = "",
        most: int = 0,
    ) -> dict[str, Any]:
        limit = asked.limit(most)
        starts = list(asked.buckets())
        page = starts[asked.page : asked.page + limit]
        data = [
            {
                **({kind: "bucket"} if kind else {}),
                **asked.named(start),
                "results": [result(model, rows) for model, rows in groups(start, start + asked.width)],
            }
            for start in page
        ]
        more = asked.page + limit < len(starts)
        following = f"page_{asked.page + limit}" if more else None
        return {**({kind: "page"} if kind else {}), "data": data, "has_more": more, "next_page": following}


class Asked:
    """The parameters of one request, as its API names them."""

    def __init__(self, given: dict[str, list[str]], anthropic: bool) -> None:
        self._given = given
        self._anthropic = anthropic
        self._width = given.get("bucket_width", ["1d"])[0]
        self.width = WIDTHS[self._width]
        self.page = int(given.get("page", ["page_0"])[0].removeprefix("page_"))
        self.key_ids = given.get("api_key_ids[]" if anthropic else "api_key_ids", [])

    def limit(self, most: int) -> int:
        limit = int(self._given.get("limit", [str(USUAL[self._width])])[0])
        if not 1 <= limit <= (most or MOST[self._width]):
            raise ValueError(f"limit: {limit} is out of bounds")
        return limit

    def buckets(self) -> Iterable[datetime]:
        names = ("starting_at", "ending_at") if self._anthropic else ("start_time", "end_time")
        start, end = (self._time(self._given[name][0]) for name in names)
        at = datetime.fromtimestamp(
            start.timestamp() // self.width.total_seconds() * self.width.total_seconds(), UTC
        )
        while at < end:
            yield at
            at += self.width

    def groups(
        self, billed: list[Billed]
    ) -> Callable[[datetime, datetime], Iterable[tuple[str | None, list[Billed]]]]:
        by_model = "model" in self._given.get("group_by[]" if self._anthropic else "group_by", [])

        def of(start: datetime, end: datetime) -> Iterable[tuple[str | None, list[Billed]]]:
            rows = [
                row
                for row in billed
                if start <= row.at < end and (not self.key_ids or row.key_id in self.key_ids)
            ]
            names: list[str | None] = [*sorted({row.model for row in rows})] if by_model else [None]
            for name in names:
                mine = [row for row in rows if name in (None, row.model)]
                if mine:
                    yield name, mine

        return of

    def named(self, start: datetime) -> dict[str, Any]:
        end = start + self.width
        if self._anthropic:
            return {"starting_at": f"{start:%Y-%m-%dT%H:%M:%SZ}", "ending_at": f"{end:%Y-%m-%dT%H:%M:%SZ}"}
        return {"start_time": int(start.timestamp()), "end_time": int(end.timestamp())}

    def _time(self, text: str) -> datetime:
        if self._anthropic:
            return datetime.fromisoformat(text)
        return datetime.fromtimestamp(int(text), UTC)


@asynccontextmanager
async def usage_server() -> AsyncIterator[UsageServer]:
    """Serve both while the block runs."""
    server = UsageServer()
    runner = web.AppRunner(server.app(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()
