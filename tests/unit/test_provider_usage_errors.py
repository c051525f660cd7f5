"""Usage as providers report it, and errors as they word them."""

from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.config import Provider
from gateway.policy.usage import Usage
from gateway.providers.errors import ErrorKind, ProviderError, from_answer, retry_after
from gateway.providers.http import api_key
from gateway.providers.usage import anthropic_usage, openai_usage

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def reported(**more: Any) -> dict[str, Any]:
    return {"prompt_tokens": 100, "completion_tokens": 20, **more}


OPENAI_USAGE = [
    (reported(), Usage(100, 20)),
    (reported(total_tokens=120, prompt_tokens_details=None), Usage(100, 20)),
    (reported(prompt_tokens_details={"cached_tokens": 60}), Usage(40, 20, 60)),
    (reported(completion_tokens_details={"reasoning_tokens": 15}), Usage(100, 20, reasoning_tokens=15)),
    (reported(total_tokens=150), Usage(100, 50, reasoning_tokens=30)),  # Gemini
    (
        reported(total_tokens=150, completion_tokens_details={"reasoning_tokens": 30}),
        Usage(100, 50, reasoning_tokens=30),
    ),
    (reported(prompt_tokens=-1), None),
    (reported(prompt_tokens=None), None),
    (reported(completion_tokens=20.5), None),
    (reported(completion_tokens="20"), None),
    (reported(completion_tokens=True), None),
    (reported(prompt_tokens_details={"cached_tokens": 101}), None),
    (reported(completion_tokens_details={"reasoning_tokens": 21}), None),
    ({"prompt_tokens": 100}, None),
    ({"prompt_tokens": 100, "total_tokens": 100}, Usage(100, 0)),
    ({}, None),
]


@pytest.mark.parametrize(("usage", "expected"), OPENAI_USAGE)
def test_openai_usage(usage: dict[str, Any], expected: Usage | None) -> None:
    assert openai_usage(usage) == expected


ANTHROPIC_USAGE = [
    ({"input_tokens": 5, "output_tokens": 7}, Usage(5, 7)),
    (
        {
            "input_tokens": 5,
            "output_tokens": 7,
            "cache_read_input_tokens": 11,
            "cache_creation_input_tokens": 13,
        },
        Usage(5, 7, 11, 13),
    ),
    ({"input_tokens": 5, "output_tokens": 7, "cache_read_input_tokens": -1}, None),
    ({"input_tokens": 5}, None),
    ({"output_tokens": 7}, None),
]


@pytest.mark.parametrize(("usage", "expected"), ANTHROPIC_USAGE)
def test_anthropic_usage(usage: dict[str, Any], expected: Usage | None) -> None:
    assert anthropic_usage(usage) == expected


ANSWERS = [
    (429, b'{"error": {"message": "slow down", "type": "requests"}}', ErrorKind.RATE_LIMITED),
    (413, b'{"error": {"message": "too large", "code": "rate_limit_exceeded"}}', ErrorKind.RATE_LIMITED),
    (413, b"", ErrorKind.CONTEXT_LENGTH),
    (400, b'{"error": {"message": "x", "code": "context_length_exceeded"}}', ErrorKind.CONTEXT_LENGTH),
    (
        400,
        b'[{"error": {"code": 400, "message": "The input token count (9) exceeds"}}]',
        ErrorKind.CONTEXT_LENGTH,
    ),
    (
        400,
        b'{"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 9"}}',
        ErrorKind.CONTEXT_LENGTH,
    ),
    (400, b'{"error": {"message": "x", "code": "content_policy_violation"}}', ErrorKind.CONTENT_REFUSED),
    (400, b'{"error": {"message": "bad tool schema"}}', ErrorKind.INVALID_REQUEST),
    (422, b"{}", ErrorKind.INVALID_REQUEST),
    (401, b'{"error": {"message": "no key"}}', ErrorKind.AUTH),
    (402, b"", ErrorKind.AUTH),
    (403, b"<html>forbidden</html>", ErrorKind.AUTH),
    (500, b"oops", ErrorKind.SERVER_ERROR),
    (502, b"", ErrorKind.SERVER_ERROR),
    (503, b"", ErrorKind.OVERLOADED),
    (529, b'{"error": {"type": "overloaded_error"}}', ErrorKind.OVERLOADED),
    (504, b"", ErrorKind.TIMEOUT),
    (408, b"", ErrorKind.TIMEOUT),
    (524, b"", ErrorKind.TIMEOUT),
    (301, b"", ErrorKind.INVALID_REQUEST),
]


@pytest.mark.parametrize(("status", "body", "kind"), ANSWERS)
def test_error_answers_are_complete_and_classified(status: int, body: bytes, kind: ErrorKind) -> None:
    error = from_answer("p", status, {}, body)
    assert (error.kind, error.sent) == (kind, True)
    assert error.complete is (kind is not ErrorKind.TIMEOUT)  # a proxy that gave up says nothing of the bill


def test_an_exhausted_quota_is_not_waited_for() -> None:
    body = b'{"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}'
    error = from_answer("p", 429, {"retry-after": "1"}, body)
    assert (error.retryable, error.fallback) == (False, True)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after": "Sat, 21 Nov 2026 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Sat, 21 Nov 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after": "1e99"}, 86_400.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW) == seconds


def test_gemini_says_in_the_body_when_to_come_back() -> None:
    body = b'{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": [{"retryDelay": "34s"}]}}'
    assert from_answer("p", 429, {}, body).retry_after_seconds == 34.0


def test_keys_that_providers_quote_are_blanked_out() -> None:
    body = b'{"error": {"message": "Incorrect API key provided: sk-proj-abcdef123456."}}'
    message = str(from_answer("p", 401, {}, body))
    assert "abcdef" not in message
    assert "Incorrect API key" in message


def test_keys_come_from_the_environment_or_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("SOME_KEY", " secret\n")
    (tmp_path / "key").write_text("filed\n")
    assert api_key(Provider("p", "openai", "https://x", "SOME_KEY")) == "secret"
    assert api_key(Provider("p", "openai", "https://x", api_key_file=str(tmp_path / "key"))) == "filed"
    assert api_key(Provider("p", "openai", "https://x")) == ""


def test_a_missing_key_is_said_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOME_KEY", raising=False)
    with pytest.raises(ProviderError, match="SOME_KEY") as caught:
        api_key(Provider("p", "openai", "https://x", "SOME_KEY"))
    assert (caught.value.kind, caught.value.sent, caught.value.fallback) == (ErrorKind.AUTH, False, True)
    assert api_key(Provider("p", "openai", "http://127.0.0.1:1", "SOME_KEY")) == ""
