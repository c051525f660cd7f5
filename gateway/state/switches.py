"""Switches: setting, clearing, reading and noticing them."""

import json
import re
from collections.abc import Collection, Sequence

from gateway.errors import ConfigurationError
from gateway.state.decisions import Decisions
from gateway.state.values import SwitchChange
from gateway.state.wire import switch_changes

_NAME = re.compile(r"kill:global|kill:(agent|provider|model|key):.+|throttle:agent:.+")
CUT_SECONDS = 60.0


class SwitchBoard:
    """The part of the authority that deals with switches (REQUIREMENTS 2)."""

    def __init__(self, decisions: Decisions) -> None:
        self._decisions = decisions
        self._connection = decisions.connection
        self._keys = decisions.connection.keys

    async def set_switch(
        self, name: str, value: str, expires_ms: int | None = None, only_if_unset: bool = False
    ) -> bool:
        """Set a switch, for expires_ms milliseconds or for ever. False: it was set already.

        Works while admission is closed. Raises ConfigurationError for names that mean nothing.
        """
        if not value:
            raise ConfigurationError(f"switch {name}: an empty value does not switch; write who:name:reason")
        return await self._change(
            name, value=value, expires_ms=expires_ms or 0, only_if_unset=int(only_if_unset)
        )

    async def prolong_switch(self, name: str, value: str, expires_ms: int) -> bool:
        """Let a switch that has exactly this value last for expires_ms from now. False: it has another."""
        return await self._change(name, value=value, expires_ms=expires_ms, expected=value)

    async def clear_switch(self, name: str, expected: str | None = None) -> bool:
        """Lift a switch; with `expected` only if that is its value. False: nothing was lifted."""
        return await self._change(name, expected=expected or "")

    async def _change(
        self, name: str, value: str = "", expires_ms: int = 0, only_if_unset: int = 0, expected: str = ""
    ) -> bool:
        if not _NAME.fullmatch(name):
            raise ConfigurationError(
                f"switch {name!r}: kill:global, kill:agent:NAME, kill:provider:NAME, kill:model:NAME, "
                "kill:key:ID and throttle:agent:NAME are the switches there are"
            )
        ask: dict[str, object] = {"name": name, "value": value, "expires_ms": expires_ms}
        ask |= {"only_if_unset": only_if_unset, "expected": expected}
        ask["seen"] = self._decisions.seen
        reply = await self._connection.run("set_switch", json.dumps(ask))
        return bool(reply[0] == "applied")

    async def read_switches(self, names: Collection[str]) -> dict[str, str]:
        """Those of the switches that are set, with their values."""
        return (await self.watch_values(names, ()))[0]

    async def known_switches(self) -> dict[str, str]:
        """All switches that were set when anybody last looked, whatever they are called."""
        redis, key = self._connection.redis, self._keys("switches")
        seen: dict[str, str] = await self._connection.call(lambda: redis.hgetall(key))
        return seen

    async def observe_switches(self, names: Collection[str]) -> list[SwitchChange]:
        """What changed since anybody last looked; each change is told once, and is an event then."""
        return switch_changes(await self._decisions.decide("observe", {"names": list(names)}))

    async def cut_run(self, run_id: str, reason: str, ttl_seconds: float = CUT_SECONDS) -> None:
        """Have every process cut the calls that this run has in flight (the kill signal's fast path)."""
        redis, key = self._connection.redis, self._keys.cut(run_id)
        ttl_ms = max(1, int(ttl_seconds * 1000))
        await self._connection.call(lambda: redis.set(key, reason or "cut", px=ttl_ms))

    async def watch_values(
        self, names: Collection[str], run_ids: Collection[str]
    ) -> tuple[dict[str, str], dict[str, str]]:
        """The switches that are set, and why runs are cut, in one MGET."""
        switches: Sequence[str] = tuple(names)
        runs: Sequence[str] = tuple(run_ids)
        if not switches and not runs:
            return {}, {}
        keys = [*switches, *map(self._keys.cut, runs)]
        values = await self._connection.call(lambda: self._connection.redis.mget(keys))
        are_set = {n: v for n, v in zip(switches, values, strict=False) if v}
        cut_runs = {r: v for r, v in zip(runs, values[len(switches) :], strict=True) if v}
        return are_set, cut_runs

    async def lead(self, name: str, holder: str, lease_ms: int) -> bool:
        """Take or keep the lead in a job that one process of all does; False: another has it."""
        ask = {"name": name, "process_id": holder, "lease_ms": lease_ms}
        return bool(await self._connection.run("lead", json.dumps(ask)))
