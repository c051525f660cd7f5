"""The keys of a provider: where they come from, and which one the next attempt takes.

A provider may have several, so that one which is revoked or out of quota does not take it down. They are
read at each use, so that they can be rotated; which of them is left alone for now only this process knows.
"""

import os
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import structlog

from gateway.config import Provider
from gateway.providers.answers import Progress
from gateway.providers.errors import ErrorKind, ProviderError

REFUSED_SECONDS = 300.0  # a key that was refused is tried again after so long
LIMITED_SECONDS = 5.0  # one that is out of quota, where the provider does not say

log = structlog.get_logger(__name__)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Credential:
    """A key and where it was found: a variable's name or a file's."""

    source: str
    secret: str = field(repr=False)


def credentials(provider: Provider) -> tuple[Credential, ...]:
    """Every key that is there: the one of api_key_env, else of api_key_file, and those of the lists.

    () where the provider wants none, or no variable is set for a server on plain http (the simulator, a local
    proxy), which may want none. Raises ProviderError (auth, not sent) when none is there that should be.
    """
    problems: list[str] = []
    first = [*_of_variables(provider.api_key_env)]
    if not first and provider.api_key_file:
        first = [*_of_files(problems, provider.api_key_file)]
    found = [*first, *_of_variables(*provider.api_key_envs), *_of_files(problems, *provider.api_key_files)]
    variables = [name for name in (provider.api_key_env, *provider.api_key_envs) if name]
    if not found and (problems or (variables and not provider.base_url.startswith("http://"))):
        problems += [f"the environment variable {name} is not set" for name in variables]
        raise ProviderError(
            ErrorKind.AUTH, f"no API key for {provider.name}: {'; '.join(problems)}", sent=False
        )
    return tuple({each.secret: each for each in found}.values())


def _of_variables(*names: str) -> Iterator[Credential]:
    for name in names:
        if name and (secret := os.environ.get(name, "").strip()):
            yield Credential(name, secret)


def _of_files(problems: list[str], *names: str) -> Iterator[Credential]:
    for name in names:
        try:
            yield Credential(name, Path(name).expanduser().read_text(encoding="utf-8").strip())
        except OSError as error:
            problems.append(f"{name}: {error.strerror}")


@dataclass(slots=True)
class _Use:
    """How a key is being used. left_alone_until: monotonic seconds."""

    in_flight: int = 0
    last: int = 0
    left_alone_until: float = 0.0


class KeyPool:
    """Shares attempts out among a provider's keys. One per process; clock: monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._uses: dict[tuple[str, str], _Use] = {}
        self._turn = 0

    async def any_of(self, provider: Provider, send: Callable[[str], Awaitable[_T | None]]) -> _T | None:
        """What one of the keys is told, asked one after the other; None: none of them is told anything.

        Raises what `send` raises: then nobody knows.
        """
        for secret in [each.secret for each in credentials(provider)] or [""]:
            found = await send(secret)
            if found is not None:
                return found
        return None

    async def using(
        self,
        provider: Provider,
        progress: Progress,
        send: Callable[[str], Awaitable[_T]],
        *,
        scattered: bool = False,
    ) -> _T:
        """Send with the key that is least in use ('' where there is none), and with another one where that
        is refused or out of quota: such an answer says that nothing was bought.

        scattered: what is asked about belongs to one of the keys; another does not find it (404).
        Raises what `send` raises, and ProviderError (auth, not sent) where no key is there.
        """
        left = list(credentials(provider))
        if not left:
            return await send("")
        waits: list[float] = []
        while True:
            key = min(left, key=lambda each: self._rank(provider, each))
            left.remove(key)
            try:
                with self._using(provider, key) as use:
                    return await send(key.secret)
            except ProviderError as error:
                seconds = _left_alone_seconds(error)
                if not seconds and not (scattered and error.status == 404):
                    raise
                if seconds:
                    use.left_alone_until = self._clock() + seconds
                    log.warning(
                        "a key is left alone", provider=provider.name, key=key.source, why=error.kind.value
                    )
                waits += [] if error.retry_after_seconds is None else [error.retry_after_seconds]
                if not left:
                    error.retry_after_seconds = min(waits, default=None)
                    raise
                progress.sent = False

    def _rank(self, provider: Provider, key: Credential) -> tuple[float, int, int]:
        """Keys that are left alone come last, the one that comes back first before the others."""
        use = self._use(provider, key)
        away = use.left_alone_until if use.left_alone_until > self._clock() else 0.0
        return away, use.in_flight, use.last

    @contextmanager
    def _using(self, provider: Provider, key: Credential) -> Iterator[_Use]:
        use = self._use(provider, key)
        self._turn += 1
        use.in_flight, use.last = use.in_flight + 1, self._turn
        try:
            yield use
        finally:
            use.in_flight -= 1

    def _use(self, provider: Provider, key: Credential) -> _Use:
        """By the key itself: another one under the same name begins anew."""
        return self._uses.setdefault((provider.name, key.secret), _Use())


def _left_alone_seconds(error: ProviderError) -> float:
    """For how long a key is not to be used after this; 0: it is not about the key."""
    if not error.complete:
        return 0.0
    if error.kind is ErrorKind.AUTH:
        return REFUSED_SECONDS
    if error.kind is ErrorKind.RATE_LIMITED:
        return error.retry_after_seconds or LIMITED_SECONDS
    return 0.0
