"""Switches: set, lifted, looked at. A switch is a key in Redis: anyone may set it, with anything."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from gateway.errors import StoreUnavailable
from gateway.state.authority import Authority
from gateway.store import Store
from worker.desk.documents import at_text

_NAME = re.compile(r"kill:global|(kill:(agent|provider|model|key)|throttle:agent):[^\x00-\x20|*]+")
NAMES = (
    "kill:global, kill:agent:NAME, kill:provider:NAME, kill:model:NAME, kill:key:ID or throttle:agent:NAME"
)
log = structlog.get_logger(__name__)


def is_switch(name: str) -> bool:
    """Whether this names a switch: one of NAMES."""
    return _NAME.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class Switch:
    """A switch that is set. since: when a worker noticed it, None: not yet."""

    name: str
    value: str
    since: datetime | None = None
    expires_at: datetime | None = None

    def document(self) -> dict[str, Any]:
        """For programs."""
        return {
            "name": self.name,
            "value": self.value,
            "since": at_text(self.since),
            "expires_at": at_text(self.expires_at),
        }


class SwitchDesk:
    """Sets and lifts switches, with the audit. by: who does it.

    Without Postgres switches work all the same: the log says what the audit misses.
    """

    def __init__(self, store: Store, authority: Authority, *, by: str) -> None:
        self._store = store
        self._authority = authority
        self._by = by

    async def set(self, name: str, reason: str, seconds: int | None = None) -> Switch:
        """Stop buying at once; seconds: it lifts itself after so long, None: never."""
        value = f"manual:{self._by}:{reason}"
        await self._authority.set_switch(name, value, seconds * 1000 if seconds else None)
        await self._audit("switch_set", name, {"value": value, "seconds": seconds})
        ends = datetime.now(UTC) + timedelta(seconds=seconds) if seconds else None
        return Switch(name, value, None, ends)

    async def clear(self, name: str) -> bool:
        """Lift a switch; False when it was not set."""
        lifted = await self._authority.clear_switch(name)
        if lifted:
            await self._audit("switch_clear", name, {})
        return lifted

    async def _audit(self, action: str, name: str, detail: dict[str, Any]) -> None:
        try:
            await self._store.events.audit(self._by, action, name, detail)
        except StoreUnavailable as error:
            log.warning("not in the audit", by=self._by, action=action, target=name, error=str(error))


async def switches_set(store: Store, authority: Authority, configured: Collection[str]) -> list[Switch]:
    """The switches that are set. Names that are not configured are known once a worker has noticed them."""
    names = {*configured, *await authority.known_switches()}
    present = await authority.read_switches(sorted(names))
    found = []
    for name, value in sorted(present.items()):
        last = await store.events.switch_changes(name, limit=1)
        noticed = last[0] if last and last[0].new == value else None
        found.append(
            Switch(name, value, noticed.at if noticed else None, noticed.expires_at if noticed else None)
        )
    return found
