"""What can go wrong with an attempt, and what to do then.

| kind            | same deployment again | next deployment | costs                                |
|-----------------|-----------------------|-----------------|--------------------------------------|
| rate_limited    | after Retry-After     | yes             | nothing                              |
| overloaded      | yes                   | yes             | nothing; in doubt if in mid-stream   |
| server_error    | yes                   | yes             | nothing; in doubt if in mid-stream   |
| timeout         | yes                   | yes             | nothing if not sent, else in doubt   |
| connect         | yes                   | yes             | nothing                              |
| cut_stream      | yes                   | yes             | in doubt                             |
| bad_response    | yes                   | yes             | in doubt                             |
| auth            | no                    | yes             | nothing                              |
| context_length  | no                    | a larger one    | nothing                              |
| invalid_request | no                    | no (404: yes)   | nothing                              |
| content_refused | no                    | if the tier says | nothing                             |
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any

from gateway.errors import CurbError
from gateway.providers.answers import Partial
from gateway.providers.wire_json import loads

_MAX_RETRY_AFTER_SECONDS = 86_400.0
_MAX_MESSAGE_CHARACTERS = 400
# Somebody on the way gave up; what stands behind may be at work on the answer, and bill it.
_GAVE_UP_WAITING = frozenset({408, 504, 524})
_KEY_LIKE = re.compile(r"\b(sk|gsk|pk|AIza|tgp)[-_A-Za-z0-9*.]{6,}")
_TOO_LONG = re.compile(
    r"context[ _]length|context window|maximum context|prompt is too long|too many (input )?tokens"
    r"|input token count.*exceeds|reduce the length|request too large|request_too_large",
    re.IGNORECASE,
)
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,60}")
_REFUSED = re.compile(
    r"content[ _]?(filter|policy|management)|safety|output blocked|usage polic", re.IGNORECASE
)


class ErrorKind(StrEnum):
    """The classes of failure, each with its retry rule (the table above)."""

    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    SERVER_ERROR = "server_error"
    TIMEOUT = "timeout"
    CONNECT = "connect"
    CONTEXT_LENGTH = "context_length"
    INVALID_REQUEST = "invalid_request"
    AUTH = "auth"
    CONTENT_REFUSED = "content_refused"
    CUT_STREAM = "cut_stream"
    BAD_RESPONSE = "bad_response"


_NEVER_RETRIED = frozenset(
    {ErrorKind.AUTH, ErrorKind.CONTEXT_LENGTH, ErrorKind.INVALID_REQUEST, ErrorKind.CONTENT_REFUSED}
)
_NO_FALLBACK = _NEVER_RETRIED - {ErrorKind.AUTH}


class ProviderError(CurbError):
    """An attempt at a provider failed.

    sent: the request may have reached the provider. complete: a whole HTTP error answer arrived, which
    says that nothing was bought. partial: what had been received by then. retryable: the same
    deployment may be tried again; fallback: the tier's next one may. summary: the message without
    the provider's own words, which may quote the prompt: what may stand in workflow history (I12).
    body: the error object as the provider sent it, where it sent one.
    """

    def __init__(
        self,
        kind: ErrorKind,
        message: str,
        *,
        sent: bool,
        complete: bool = False,
        retry_after_seconds: float | None = None,
        retryable: bool | None = None,
        fallback: bool | None = None,
        partial: Partial | None = None,
        provider_request_id: str = "",
        status: int | None = None,
        summary: str = "",
        body: "ErrorBody | None" = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.sent = sent
        self.complete = complete
        self.retry_after_seconds = retry_after_seconds
        self.retryable = kind not in _NEVER_RETRIED if retryable is None else retryable
        self.fallback = kind not in _NO_FALLBACK if fallback is None else fallback
        self.partial = partial or Partial()
        self.provider_request_id = provider_request_id
        self.status = status
        self.summary = summary or message
        self.body = body or ErrorBody()


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """The error object that providers send, whatever wrapping they use."""

    type: str = ""
    code: str = ""
    message: str = ""
    param: str = ""
    retry_after_seconds: float | None = None

    @property
    def label(self) -> str:
        """Its type and code in brackets, as far as they are names and not prose."""
        names = dict.fromkeys(name for name in (self.type, self.code) if _NAME.fullmatch(name))
        return f" ({', '.join(names)})" if names else ""


def from_answer(
    provider: str, status: int, headers: Mapping[str, str], body: bytes, *, now: datetime | None = None
) -> ProviderError:
    """Classify a complete HTTP error answer (status 300 or more)."""
    error = parse_body(body)
    kind = classify(status, error)
    said = error.message or f"{len(body)} bytes that are no error object"
    quota = error.code == "insufficient_quota"
    return ProviderError(
        kind,
        f"{provider} answered {status}: {said}",
        sent=True,
        complete=status not in _GAVE_UP_WAITING,
        retry_after_seconds=retry_after(headers, now or datetime.now(UTC)) or error.retry_after_seconds,
        retryable=False if quota else None,
        fallback=True if status == 404 else None,
        status=status,
        summary=f"{provider} answered {status}{error.label}",
        body=error,
    )


def from_stream(provider: str, error_object: object, partial: Partial) -> ProviderError:
    """Classify an error event in the middle of a stream: what was generated is in doubt."""
    error = parse_error(error_object)
    kind = classify(_status_of(error), error)
    said = f"{provider} broke off its answer"
    return ProviderError(
        kind,
        f"{said}: {error.message or error.type}",
        sent=True,
        partial=partial,
        summary=f"{said}{error.label}",
        body=error,
    )


def classify(status: int, error: ErrorBody) -> ErrorKind:
    """Find the kind of an error answer by its status, then by what the provider says."""
    words = f"{error.type} {error.code} {error.message}"
    if status == 429 or error.code == "rate_limit_exceeded":
        return ErrorKind.RATE_LIMITED
    if status in (401, 402, 403):
        return ErrorKind.CONTENT_REFUSED if _REFUSED.search(words) else ErrorKind.AUTH
    if status in (503, 529) or "overloaded" in error.type:
        return ErrorKind.OVERLOADED
    if status in _GAVE_UP_WAITING:
        return ErrorKind.TIMEOUT
    if status >= 500:
        return ErrorKind.SERVER_ERROR
    if status == 413 or _TOO_LONG.search(words):
        return ErrorKind.CONTEXT_LENGTH
    return ErrorKind.CONTENT_REFUSED if _REFUSED.search(words) else ErrorKind.INVALID_REQUEST


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds to wait: retry-after-ms, or Retry-After as seconds or as an HTTP date; None if absent."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return _bounded(milliseconds / 1000)
    text = headers.get("retry-after")
    if not text:
        return None
    seconds = _number(text)
    if seconds is not None:
        return _bounded(seconds)
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    return _bounded(((date if date.tzinfo else date.replace(tzinfo=UTC)) - now).total_seconds())


def parse_body(body: bytes) -> ErrorBody:
    """Read an error answer; anything that is not JSON is its own message."""
    try:
        document = loads(body)
    except ValueError:
        return ErrorBody(message=_safe(body.decode("utf-8", "replace").strip()))
    if isinstance(document, list) and document:  # Gemini wraps the object in a list
        document = document[0]
    inner = document.get("error", document) if isinstance(document, dict) else document
    return parse_error(inner)


def parse_error(error: object) -> ErrorBody:
    """Read an error object: {"type", "code", "message"} with provider-specific extras."""
    if not isinstance(error, dict):
        return ErrorBody(message=_safe(str(error)))
    return ErrorBody(
        type=str(error.get("type") or error.get("status") or ""),
        code=str(error.get("code") or ""),
        message=_safe(str(error.get("message") or "")),
        param=str(error.get("param") or ""),
        retry_after_seconds=_retry_info(error.get("details")),
    )


def _status_of(error: ErrorBody) -> int:
    """The HTTP status that an error in mid-stream would have had."""
    known = {
        "overloaded_error": 529,
        "rate_limit_error": 429,
        "invalid_request_error": 400,
        "authentication_error": 401,
        "permission_error": 403,
        "timeout_error": 504,
    }
    if error.type in known:
        return known[error.type]
    return int(error.code) if error.code.isdigit() and 400 <= int(error.code) <= 599 else 500


def _retry_info(details: Any) -> float | None:
    """Gemini's RetryInfo: a list of details, one of which has "retryDelay": "34s"."""
    for detail in details if isinstance(details, list) else ():
        delay = detail.get("retryDelay") if isinstance(detail, dict) else None
        seconds = _number(delay.removesuffix("s")) if isinstance(delay, str) else None
        if seconds is not None:
            return _bounded(seconds)
    return None


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else None
    except ValueError:
        return None
    return None if value is None or math.isnan(value) else value


def _bounded(seconds: float) -> float:
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER_SECONDS)


def _safe(message: str) -> str:
    """Shorten, and blank out what looks like an API key: providers quote keys in their errors."""
    return _KEY_LIKE.sub(r"\1-…", message)[:_MAX_MESSAGE_CHARACTERS]
