"""Whose model calls are these? The activity that runs, known by context to the HTTP client inside it."""

import contextlib
import hashlib
from collections.abc import AsyncIterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from temporalio import activity

from gateway.digests import short_hash
from gateway.errors import CurbError
from gateway.policy.refusals import Refusal
from worker.plugin.launch import Launch

if TYPE_CHECKING:
    from worker.plugin.exchange import Exchange
    from worker.plugin.supervisor import Supervisor

_ASKING: ContextVar["Asking | None"] = ContextVar("curb_asking", default=None)
_PLAIN_ID = 100


class NotSupervised(CurbError):
    """A supervised client was used outside of a supervised activity: nothing was sent."""


class StepsUsedUp(CurbError):
    """The run has made as many model calls as it may."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a call has no answer, and never will. kind: for programs."""

    kind: str
    text: str


@dataclass
class Asking:
    """One try of one activity, as it asks for model calls.

    alone: the activity is one model call, whose key is the activity's; elsewhere a digest of the request
    tells calls apart. problem: why the latest call had no answer.
    """

    supervisor: "Supervisor"
    info: activity.Info
    launch: Launch
    alone: bool
    problem: Refusal | Problem | None = None
    exchanges: set["Exchange"] = field(default_factory=set)
    _taken: set[str] = field(default_factory=set)

    def take_key(self, body: bytes) -> str:
        """A call key for this request, the same in every try of the activity.

        A second request of the same words is a call of its own; one that a client repeats because it had
        no answer is the same call again (see `give_back`).
        """
        info = self.info
        id = info.activity_id
        plain = len(id) <= _PLAIN_ID and id.isascii() and id.isprintable() and "#" not in id
        key = f"run:{info.workflow_run_id}:{id if plain else short_hash(id)}"
        if not self.alone:
            key += f":{hashlib.blake2b(body, digest_size=10).hexdigest()}"
        numbered = (key if number == 1 else f"{key}:{number}" for number in range(1, 10_000))
        free = next(each for each in numbered if each not in self._taken)
        self._taken.add(free)
        return free

    def give_back(self, key: str) -> None:
        """The call had no answer: whoever asks for it again asks under this key."""
        self._taken.discard(key)

    async def close(self) -> None:
        """Whatever still goes on for this activity ends with it."""
        for exchange in tuple(self.exchanges):
            await exchange.close()


def current() -> Asking:
    """The activity that is running. Raises NotSupervised."""
    asking = _ASKING.get()
    if asking is None:
        raise NotSupervised(
            "this HTTP client sends through curb, inside activities of a Temporal worker that has "
            "SupervisorPlugin in its plugins; nothing was sent"
        )
    return asking


def is_asking() -> bool:
    """Whether a supervised activity is running here."""
    return _ASKING.get() is not None


@contextlib.asynccontextmanager
async def asking_as(asking: Asking) -> AsyncIterator[None]:
    """Clients used inside the block ask for this activity; what still goes on at its end is cut."""
    token = _ASKING.set(asking)
    try:
        yield
    finally:
        _ASKING.reset(token)
        await asking.close()
