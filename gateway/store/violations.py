"""What rate limits refused, a row for each minute, process, limit and caller."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from gateway.store import tables_keys
from gateway.store.database import Database
from gateway.store.folding import to_json

TABLES = (tables_keys.rate_limit_violations,)


@dataclass(frozen=True, slots=True)
class Violation:
    """Requests of one caller that one limit refused in one minute.

    rule, scope, tier: as gateway.policy.rate_limits has them. rate_limit: how many window_ms allows (0
    ms: how many may be in flight). refused: how many were refused.
    """

    minute: datetime
    rule: str
    scope: str
    tier: str
    agent: str
    team: str
    user: str
    key_id: str
    address: str
    endpoint: str
    rate_limit: int
    window_ms: int
    refused: int
    first_at: datetime
    last_at: datetime


class Violations:
    """The table rate_limit_violations."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, process_id: str, rows: Sequence[tuple[str, Violation]]) -> None:
        """Write rows by their ids; one that is there already takes the higher count."""
        documents = []
        for row_id, violation in rows:
            fields = asdict(violation)
            documents.append({**fields, "user_id": fields["user"], "id": row_id, "process_id": process_id})
        await self._database.rows("put_violations", rows=to_json(documents))

    async def list(
        self, *, since: datetime | None = None, scope: str | None = None, limit: int = 100
    ) -> Sequence[Violation]:
        """Rows of all processes, the newest minute first."""
        rows = await self._database.rows("violations", since=since, scope=scope, limit=limit)
        return [Violation(**row) for row in rows]
