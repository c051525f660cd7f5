"""Everything that can break, breaking in a random order under running agents."""

import asyncio
import random
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from gateway.errors import CurbError
from gateway.reconcile import SimulatorInvoice, resolve
from tests.faults.agents import GRACE_SECONDS, LEASE_SECONDS
from tests.faults.scene import Handle, Scene, until

Fault = Callable[[], Awaitable[None]]
_DOUBT_SECONDS = 5.0
_OUTBOX = "curb:outbox"
_AGENTS = ("talker", "walker", "walker", "thinker", "steady", "spender", "crowd")


@dataclass
class Storm:
    """Breaks things one after the other, always with calls in flight, and starts runs in between.

    What no design can keep is left out: a process and Redis losing their memory within one drain
    lag. So a worker is killed only once it has written down what an emptied Redis had forgotten,
    and Redis loses its memory only once the outbox has what a killed worker had last decided.
    """

    scene: Scene
    chance: random.Random
    copy: Path
    runs: list[Handle] = field(default_factory=list)
    happened: list[str] = field(default_factory=list)

    async def rage(self, faults: int, runs_each: int) -> None:
        """Have this many faults, each kind at least once if there are enough."""
        await asyncio.to_thread(shutil.copytree, self._data, self.copy)
        kinds: list[Fault] = [
            self.kill_worker,
            self.freeze_worker,
            self.kill_valkey,
            self.empty_valkey,
            self.throw_valkey_back,
            self.stop_postgres,
            self.stop_postgres_and_empty_valkey,
            self.kill_temporal,
            self.cut_off_provider,
        ]
        chosen = kinds + self.chance.choices(kinds, k=max(0, faults - len(kinds)))
        self.chance.shuffle(chosen)
        for fault in chosen[:faults]:
            await self.start_runs(runs_each)
            await self._until_calls_are_in_flight()
            self.happened.append(fault.__name__)
            structlog.get_logger("storm").info(fault.__name__)
            await fault()
            await self.resolve()

    async def start_runs(self, number: int) -> None:
        for _ in range(number):
            self.runs.append(await self.scene.start(self.chance.choice(_AGENTS)))

    async def resolve(self) -> None:
        """What a schedule does in a factory: doubts that are old enough follow the invoice."""
        usage = SimulatorInvoice(self.scene.stack.simulator_url)
        try:
            await resolve(
                self.scene.authority,
                self.scene.store,
                usage,
                min_age_seconds=_DOUBT_SECONDS,
                drain_seconds=0.5,
            )
        except CurbError as error:
            structlog.get_logger("storm").info("not resolved", error=str(error))

    # Faults

    async def kill_worker(self) -> None:
        await self._until_everybody_has_flushed()
        worker = self.chance.choice(self.scene.workers)
        await worker.kill()
        self.scene.workers.remove(worker)
        await self.scene.start_worker()
        await self._until_outbox_is_drained()

    async def freeze_worker(self) -> None:
        """For longer than its leases last."""
        worker = self.chance.choice(self.scene.workers)
        worker.freeze()

        async def is_missed() -> bool:
            living = await self.scene.store.epochs.living(LEASE_SECONDS + GRACE_SECONDS + 0.5)
            return not any(f"-{worker.pid}-" in process_id for process_id in living)

        await until(is_missed)
        worker.thaw()

    async def kill_valkey(self) -> None:
        await self.scene.valkey.kill()
        await self.scene.valkey.start()
        await self.scene.until_open()

    async def empty_valkey(self) -> None:
        epoch = await self.scene.until_open()
        await self._flushall()
        await self.scene.until_open(epoch)

    async def throw_valkey_back(self) -> None:
        epoch = await self.scene.until_open()
        await self.scene.valkey.kill()
        await asyncio.to_thread(shutil.rmtree, self._data)
        await asyncio.to_thread(shutil.copytree, self.copy, self._data)
        await self.scene.valkey.start()
        await self.scene.until_open(epoch)

    async def stop_postgres(self) -> None:
        await self.scene.postgres.stop()
        await self._until_nothing_is_generated()
        await self.scene.postgres.start()

    async def stop_postgres_and_empty_valkey(self) -> None:
        """The processes alone know what was decided last."""
        epoch = await self.scene.until_open()
        await self.scene.postgres.stop()
        await self._flushall()
        await self.scene.postgres.start()
        await self.scene.until_open(epoch)

    async def kill_temporal(self) -> None:
        await self.scene.temporal.kill()
        await self.scene.temporal.start()

    async def cut_off_provider(self) -> None:
        """Every answer that is under way is cut, and a new connection takes a second."""
        await self.scene.provider_gate.shut()
        await self.scene.provider_gate.open()

    # Between them

    @property
    def _data(self) -> Path:
        return self.scene.stack.directory / "valkey"

    async def _flushall(self) -> None:
        async with self.scene.redis() as redis:
            await redis.flushall()

    async def _until_calls_are_in_flight(self) -> None:
        async def generating() -> bool:
            return any(row["state"] == "open" for row in await self.scene.invoice())

        await until(generating)

    async def _until_nothing_is_generated(self) -> None:
        async def quiet() -> bool:
            return all(row["state"] == "final" for row in await self.scene.invoice())

        await until(quiet)

    async def _until_everybody_has_flushed(self) -> None:
        async def flushed() -> bool:
            epochs, epoch = self.scene.store.epochs, (await self.scene.authority.epoch_state()).epoch
            living = await epochs.living(2.0)
            return len(living) >= len(self.scene.workers) and not await epochs.unflushed(epoch, 2.0)

        await until(flushed)

    async def _until_outbox_is_drained(self) -> None:
        """Whatever the last killed worker had decided is in Postgres."""
        [newest] = await self._outbox("xrevrange") or [(0, 0)]

        async def drained() -> bool:
            oldest = await self._outbox("xrange")
            return not oldest or oldest[0] > newest

        await until(drained)

    async def _outbox(self, command: str) -> list[tuple[int, ...]]:
        """The place of the first entry of the outbox, from its beginning or its end."""
        async with self.scene.redis() as redis:
            entries = await getattr(redis, command)(_OUTBOX, count=1)
        return [tuple(map(int, entry[0].split(b"-"))) for entry in entries]
