"""One attempt at one deployment: sent under a lease, cut by switches, and what it was billed.

| how it ended                            | booked as                                     |
|-----------------------------------------|-----------------------------------------------|
| complete answer                         | settled at its usage                          |
| connection never made, or lease lapsed  | released                                      |
| complete HTTP error answer              | settled at zero                               |
| sent, then cut, timed out or no usage   | in doubt at its bound, with an estimate beside |
"""

import asyncio
import time
import traceback
from dataclasses import dataclass

import structlog

from gateway.calls import Request, Settlement
from gateway.config import Deployment, Provider
from gateway.leases import LeaseKeeper, LeaseLapsed
from gateway.policy.pricing import Price, cost
from gateway.policy.usage import Usage
from gateway.providers.base import Family, Hearing, Http, Progress, ProviderAnswer
from gateway.providers.errors import ErrorKind, ProviderError
from gateway.state.values import Reservation
from gateway.state.watcher import CallWatcher, Cut

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Option:
    """One way to make a call: a deployment, the body for it, its price and its upper bound.

    as_it_is: the body is the client's own document, its answer the client's own format. streamed:
    whether the provider's answer is.
    """

    tier: str
    deployment: Deployment
    provider: Provider
    family: Family
    price: Price
    request: Request
    body: bytes
    size: int  # gateway.bounds.request_size
    input_bound: int
    max_output_tokens: int
    asked_nano_usd: int
    as_it_is: bool = False
    streamed: bool = True


@dataclass(frozen=True, slots=True)
class Ended:
    """How an attempt ended: its settlement, and the answer or what went wrong."""

    settlement: Settlement
    answer: ProviderAnswer | None = None
    error: ProviderError | LeaseLapsed | None = None
    cut: Cut | None = None
    cancelled: bool = False

    @property
    def refused(self) -> bool:
        """Whether it came to an answer that its provider withheld for the content."""
        return self.answer is not None and self.answer.finish_reason == "content_filter"


class Sender:
    """Sends attempts and turns whatever happens into a settlement."""

    def __init__(self, http: Http, watcher: CallWatcher, leases: LeaseKeeper) -> None:
        self._http = http
        self._watcher = watcher
        self._leases = leases

    async def send(
        self,
        option: Option,
        reservation: Reservation,
        *,
        switches: tuple[str, ...],
        run_ids: tuple[str, ...],
        timeout_seconds: float,
        hearing: Hearing | None = None,
    ) -> Ended:
        """Send one attempt; a cut, a lost lease and the caller's cancellation end it early."""
        progress = Progress()
        cuts: list[Cut] = []
        task: asyncio.Task[ProviderAnswer] | None = None

        def cut(reason: Cut) -> None:
            cuts.append(reason)
            if task is not None:
                task.cancel()

        def fenced() -> None:
            cut(Cut(reason="fenced by a newer attempt of the same call", name=""))

        with (
            self._leases.holding(reservation, fenced) as lease,
            self._watcher.watching(switches, run_ids, cut),
        ):
            task = asyncio.create_task(
                option.family.send(
                    self._http,
                    option.provider,
                    option.deployment,
                    option.body,
                    attempt_id=reservation.attempt_id,
                    timeout_seconds=timeout_seconds,
                    before_send=lease.check,
                    progress=progress,
                    hearing=hearing,
                )
            )
            return await self._ended(task, option, reservation, progress, cuts)

    async def _ended(
        self,
        task: asyncio.Task[ProviderAnswer],
        option: Option,
        reservation: Reservation,
        progress: Progress,
        cuts: list[Cut],
    ) -> Ended:
        books = _Books(option, reservation.attempt_id, progress)
        try:
            answer = await task
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            current = asyncio.current_task()
            cancelled = current is not None and current.cancelling() > 0
            if not task.cancelled() and task.exception() is None:  # it had come already, and is paid for
                return Ended(books.answered(task.result()), answer=task.result(), cancelled=cancelled)
            if cuts:
                settlement = books.broken("killed", "switched", cuts[0].reason)
                return Ended(settlement, cut=cuts[0], cancelled=cancelled)
            return Ended(books.broken("killed", "cancelled", "cancelled by the caller"), cancelled=True)
        except LeaseLapsed as lapsed:
            return Ended(books.released("lease_lapsed", str(lapsed)), error=lapsed)
        except ProviderError as error:
            return Ended(books.failed(error), error=error)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong, what was held must be booked
            failure = _unexpected(error, option, progress)
            return Ended(books.failed(failure), error=failure)
        return Ended(books.answered(answer), answer=answer)


def _unexpected(error: Exception, option: Option, progress: Progress) -> ProviderError:
    """A bug, of ours or of a library. Told by its type and place: its message may quote the answer."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    what = f"{option.provider.name}: {type(error).__name__}"
    log.error("an attempt failed unexpectedly", error=what, at=f"{place.filename}:{place.lineno}")
    kind = ErrorKind.BAD_RESPONSE if progress.sent else ErrorKind.CONNECT
    return ProviderError(kind, what, sent=progress.sent, partial=progress.partial())


class _Books:
    """Writes the settlement of one attempt."""

    def __init__(self, option: Option, attempt_id: str, progress: Progress) -> None:
        self._option = option
        self._attempt_id = attempt_id
        self._progress = progress

    def answered(self, answer: ProviderAnswer) -> Settlement:
        usage = answer.usage
        if usage is None:
            return self._settlement(
                state="in_doubt",
                status="success",
                error_type="no_usage",
                error_message="the provider's answer carries no usable token counts",
                estimate_nano_usd=self._estimate(),
                provider_usage=answer.provider_usage,
                finish_reason=answer.finish_reason,
                done_ms=answer.done_ms,
            )
        return self._settlement(
            state="settled",
            status="success",
            basis="usage",
            cost_nano_usd=cost(self._option.price, usage),
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            provider_usage=answer.provider_usage,
            finish_reason=answer.finish_reason,
            done_ms=answer.done_ms,
        )

    def failed(self, error: ProviderError) -> Settlement:
        kind, message = error.kind.value, str(error)
        if not error.sent:
            return self.released(kind, message)
        if error.complete:
            return self._settlement(
                state="settled", status="error", basis="error_answer", error_type=kind, error_message=message
            )
        return self.broken("timeout" if kind == "timeout" else "error", kind, message)

    def broken(self, status: str, error_type: str, message: str) -> Settlement:
        """Sent or not, and no final answer: released if nothing left, else in doubt."""
        if not self._progress.sent:
            return self.released(error_type, message, status=status)
        return self._settlement(
            state="in_doubt",
            status=status,
            error_type=error_type,
            error_message=message,
            estimate_nano_usd=self._estimate(),
        )

    def released(self, error_type: str, message: str, *, status: str = "error") -> Settlement:
        return self._settlement(
            state="released", status=status, basis="not_sent", error_type=error_type, error_message=message
        )

    def _estimate(self) -> int:
        """What had come by then: the reported usage so far, else four characters a token.

        Of an answer that comes all at once nobody can tell how much was made of it: the bound.
        """
        if not self._option.streamed:
            return self._option.asked_nano_usd
        seen = self._progress.usage or Usage(input_tokens=self._option.input_bound // 4)
        output = max(seen.output_tokens, self._progress.text_characters // 4)
        return cost(
            self._option.price,
            Usage(seen.input_tokens, output, seen.cache_read_tokens, seen.cache_write_tokens),
        )

    def _settlement(self, **fields: object) -> Settlement:
        common: dict[str, object] = {
            "attempt_id": self._attempt_id,
            "price_id": self._option.price.id,
            "provider_request_id": self._progress.provider_request_id,
            "first_token_ms": self._progress.first_token_ms,
            "done_ms": time.time_ns() // 1_000_000,
        }
        return Settlement.model_validate(common | fields)
