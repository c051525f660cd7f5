"""Bookings of days that are over, as their attempts would have left them in the books."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from gateway.drainer import Drainer
from gateway.events import Event
from gateway.policy.periods import Calendar
from gateway.policy.scopes import Period, Window
from gateway.rebuild import Rebuilder
from tests.integration.books import Books, settlement
from tests.integration.ledger_events import opened

CALENDAR = Calendar(ZoneInfo("UTC"))


def today() -> date:
    return datetime.now(UTC).date()


def days_ago(days: int) -> date:
    return today() - timedelta(days=days)


def day_window(day: date) -> Window:
    return CALENDAR.window_on(Period.DAY, day)


def counters(day: date, agent: str, run_id: str = "") -> tuple[str, ...]:
    names = [f"agent:{agent}|day|{day}", f"agent:{agent}|month|{day:%Y-%m}"]
    names += [f"global|day|{day}", f"global|month|{day:%Y-%m}"]
    return (*names, f"run:{run_id}|run|run") if run_id else tuple(names)


def at_noon(day: date) -> int:
    """In Unix milliseconds."""
    return round(datetime(day.year, day.month, day.day, 12, tzinfo=UTC).timestamp() * 1000)


def attempt(
    name: str, day: date, cost: int | None = None, *, agent: str = "coder", run_id: str = ""
) -> list[Event]:
    """Events of an attempt at noon of a day; without a cost it is in flight."""
    at_ms, attempt_id = at_noon(day), f"{name}#1"
    body = vars_of(opened(attempt_id, agent=agent, counters=counters(day, agent, run_id), run_id=run_id))
    events = [Event("reserved", body, 1, 1, at_ms, day.isoformat())]
    if cost is not None:
        said = settlement(attempt_id, cost, input_tokens=10, provider_usage={"x": 1}).model_dump(mode="json")
        events.append(Event("settled", said, 1, 2, at_ms + 1000, day.isoformat()))
    return events


def refusal(name: str, day: date, scope: str, period: str = "day") -> Event:
    """A refused call."""
    told = {"kind": "exhausted", "scope": scope, "period": period, "limit_nano_usd": 10, "detail": "no"}
    body = {**vars_of(opened(f"{name}/r/1")), "attempt_id": f"{name}/r/1", "refusal": told}
    return Event("refused", body, 1, 3, at_noon(day))


def vars_of(given: object) -> dict[str, object]:
    return {name: getattr(given, name) for name in given.__dataclass_fields__}  # type: ignore[attr-defined]


async def open_budgets(books: Books) -> None:
    """Load Redis from the books, as any process does when it starts."""
    assert await Rebuilder(books.authority, books.store, books.authority.process_id).round()
    await Drainer(books.authority, books.store, "d").drain_all()
