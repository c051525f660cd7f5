"""Problems: every reason for not answering, as a status and an error object in the client's own shape.

| what                                            | status | the client should                       |
|-------------------------------------------------|--------|-----------------------------------------|
| invalid: a field, no price, no output limit     | 400    | mend the request                        |
| no key, an unknown, revoked or expired one      | 401    | send another key                        |
| exhausted, never fits                           | 402    | wait until `retry_at`, or have it raised |
| switched, frozen, outside of the key's scopes   | 403    | ask a person                            |
| no such model, no such path                     | 404    | ask for a known one                     |
| too large                                       | 413    | send less                               |
| the same Idempotency-Key for another request    | 422    | use a new key                           |
| rate limited, contended, throttled              | 429    | ask again after `Retry-After`           |
| a provider refuses our key                      | 502    | tell the operator                       |
| unavailable                                     | 503    | ask again after `Retry-After`           |
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from gateway.config import FamilyName
from gateway.http.fields import BadRequest
from gateway.keys import Unauthorized
from gateway.policy.money import decimal_usd
from gateway.policy.refusals import Refusal, RefusalKind
from gateway.providers.errors import ErrorKind, ProviderError
from gateway.state.watcher import BUDGET_SWITCH

_OPENAI_TYPES = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    429: "rate_limit_error",
}
_ANTHROPIC_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}
_STATUS = {
    RefusalKind.EXHAUSTED: 402,
    RefusalKind.NEVER_FITS: 402,
    RefusalKind.SWITCHED: 403,
    RefusalKind.CONTENDED: 429,
    RefusalKind.THROTTLED: 429,
    RefusalKind.RATE_LIMITED: 429,
    RefusalKind.PRESSURE: 429,
    RefusalKind.IN_FLIGHT: 503,
    RefusalKind.UNAVAILABLE: 503,
    RefusalKind.INVALID: 400,
}
_BUDGET = frozenset({RefusalKind.EXHAUSTED, RefusalKind.NEVER_FITS, RefusalKind.CONTENDED})
_SOON_MS = 1_000


@dataclass(frozen=True, slots=True)
class Problem:
    """Why there is no answer. code: for programs. curb: the numbers, as JSON. retry_at_ms: Unix
    milliseconds. param: the field of the request. body: instead of the family's error object."""

    status: int
    message: str
    code: str
    param: str = ""
    retry_at_ms: int | None = None
    curb: Mapping[str, Any] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self, family: FamilyName) -> dict[str, Any]:
        """The error object as clients of this family read it, with curb's numbers in it."""
        if self.body:
            return dict(self.body)
        numbers = {"curb": dict(self.curb)} if self.curb else {}
        if family == "anthropic":
            kind = _ANTHROPIC_TYPES.get(
                self.status, "invalid_request_error" if self.status < 500 else "api_error"
            )
            return {"type": "error", "error": {"type": kind, "message": self.message, **numbers}}
        kind = _OPENAI_TYPES.get(
            self.status, "invalid_request_error" if self.status < 500 else "server_error"
        )
        error = {"message": self.message, "type": kind, "param": self.param or None, "code": self.code}
        return {"error": {**error, **numbers}}

    def headers(self, now_ms: int) -> dict[str, str]:
        """Retry-After, where asking again can help."""
        if self.retry_at_ms is None:
            return {}
        return {"retry-after": str(max(math.ceil((self.retry_at_ms - now_ms) / 1000), 1))}


def of_refusal(refusal: Refusal, now_ms: int, upgrade_url: str = "") -> Problem:
    """The gateway's no. An agent that is switched off because its day is spent is out of budget."""
    if refusal.kind is RefusalKind.RATE_LIMITED:
        return _rate_limited(refusal, now_ms, upgrade_url)
    spent = refusal.kind is RefusalKind.SWITCHED and f": {BUDGET_SWITCH}" in refusal.detail
    kind = RefusalKind.EXHAUSTED if spent else refusal.kind
    status = _STATUS[kind]
    retry_at = refusal.retry_at_ms
    if retry_at is None and status in (429, 503):
        retry_at = now_ms + _SOON_MS
    numbers: dict[str, Any] = {"kind": kind.value, "scope": refusal.scope, "period": refusal.period}
    if refusal.kind in _BUDGET:
        numbers |= {
            "limit_usd": decimal_usd(refusal.limit_nano_usd),
            "spent_usd": decimal_usd(refusal.spent_nano_usd),
            "held_usd": decimal_usd(refusal.held_nano_usd),
            "in_doubt_usd": decimal_usd(refusal.in_doubt_nano_usd),
            "asked_usd": decimal_usd(refusal.asked_nano_usd),
        }
    if retry_at is not None:
        numbers["retry_at"] = iso(retry_at)
    if kind is RefusalKind.INVALID:
        return Problem(400, refusal.detail, "invalid")
    return Problem(status, str(refusal), kind.value, "", retry_at, numbers)


def _rate_limited(refusal: Refusal, now_ms: int, upgrade_url: str) -> Problem:
    """Too often: the body of REQUIREMENTS 4, the same for both families."""
    retry_at = refusal.retry_at_ms or now_ms + _SOON_MS
    more = " or use a key of a higher tier" if refusal.rate_rule in ("tier", "expensive") else ""
    message = f"{refusal}. Ask again after {iso(retry_at)}{more}"
    body = {
        "error": "Rate limit exceeded",
        "message": message,
        "tier": refusal.rate_tier,
        "limit": refusal.rate_limit,
        "windowMs": refusal.rate_window_ms,
        "retryAfter": iso(retry_at),
        "upgradeUrl": upgrade_url,
    }
    return Problem(429, message, "rate_limited", "", retry_at, body=body)


def of_provider(error: ProviderError) -> Problem:
    """What a provider said for good; in its words, but for those about our own account there."""
    said = error.body
    if error.kind is ErrorKind.AUTH or error.status == 404:
        return Problem(
            502, f"{error.summary}: this server's own account there, or its configuration", "provider_auth"
        )
    code = {
        ErrorKind.CONTEXT_LENGTH: "context_length_exceeded",
        ErrorKind.CONTENT_REFUSED: "content_filter",
    }.get(error.kind)
    if code is None and error.kind is not ErrorKind.INVALID_REQUEST:
        return Problem(502, str(error), error.kind.value)
    return Problem(400, said.message or str(error), code or said.code or "invalid_request", said.param)


def of_bad_request(error: BadRequest) -> Problem:
    """A request that cannot be done."""
    return Problem(error.status, str(error), error.code or "invalid", error.field)


def of_unauthorized(error: Unauthorized) -> Problem:
    """No key, or none that may call. A frozen one is known and switched off."""
    status = 403 if error.reason == "frozen" else 401
    return Problem(status, str(error), "key_frozen" if status == 403 else "invalid_api_key")


def unavailable(what: str, now_ms: int) -> Problem:
    """A server of ours does not answer."""
    return Problem(503, what, "unavailable", "", now_ms + _SOON_MS, {"kind": "unavailable"})


def internal() -> Problem:
    """A bug of ours; what it was is in the log."""
    return Problem(500, "something went wrong in curb itself; the log has it", "internal")


def iso(unix_ms: int) -> str:
    """A moment as ISO 8601 in UTC."""
    return (
        datetime.fromtimestamp(unix_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )
