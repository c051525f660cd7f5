"""The log of backups: whoever makes them writes it, by SQL or through here; the sweep reads it."""

from dataclasses import dataclass
from datetime import datetime

from gateway.store import tables_backups
from gateway.store.database import Database

TABLES = (tables_backups.backup_logs,)


@dataclass(frozen=True, slots=True)
class LastBackup:
    """The newest backup. good_age_seconds: how long ago the newest good one began, None: there is none."""

    started_at: datetime
    success: bool
    error_message: str
    kind: str
    location: str
    good_at: datetime | None
    good_age_seconds: float | None


class Backups:
    """The table backup_logs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def note(
        self,
        started_at: datetime,
        *,
        success: bool,
        finished_at: datetime | None = None,
        kind: str = "",
        location: str = "",
        size_bytes: int | None = None,
        error_message: str = "",
    ) -> None:
        """Write down how one went."""
        await self._database.rows(
            "note_backup",
            started_at=started_at,
            finished_at=finished_at,
            kind=kind,
            location=location,
            size_bytes=size_bytes,
            success=success,
            error_message=error_message,
        )

    async def last(self) -> LastBackup | None:
        """The newest; None before anybody has made one."""
        row = await self._database.row("last_backup")
        return None if row is None else LastBackup(**row)
