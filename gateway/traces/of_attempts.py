"""An attempt at a provider as a span, in the words of OpenTelemetry's GenAI conventions and in Langfuse's."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

from gateway.calls import Message
from gateway.policy.money import NANO_PER_USD
from gateway.store.attempts import AttemptRow
from gateway.traces import ids
from gateway.traces.spans import Span, Value, as_json, given, nanoseconds

# The convention's names for providers; others go by their own.
_PROVIDERS = MappingProxyType({"google": "gcp.gemini", "bedrock": "aws.bedrock"})
_OPERATIONS = MappingProxyType({"/v1/embeddings": "embeddings"})


def attempt_span(row: AttemptRow, content: Sequence[Message] | None = None) -> Span:
    """One attempt. content: what went in and, last, what came out; None: not told."""
    operation = _OPERATIONS.get(row["endpoint"], "chat")
    trace_id = row["trace_id"] or ids.trace_of(row["run_id"] or row["call_key"])
    failed = row["status"] not in ("success", "")
    return Span(
        name=f"{operation} {row['model']}",
        trace_id=trace_id,
        span_id=ids.attempt_span(row["attempt_id"]),
        parent_id=row["span_id"],
        start_ns=nanoseconds(row["reserved_at"], row["at"]),
        end_ns=max(nanoseconds(_ended_at(row), row["at"]), nanoseconds(row["reserved_at"], row["at"])),
        attributes=_attributes(row, operation),
        langfuse=_langfuse(row, operation, content, failed=failed),
        outgoing=True,
        error=(row["error_type"] or row["status"]) if failed else "",
    )


def who(row: Mapping[str, Any]) -> dict[str, Value]:
    """Whose it is, as every span of a trace says for Langfuse."""
    tags = [f"{name}:{value}" for name, value in sorted((row["tags"] or {}).items())]
    mine = [f"agent:{row['agent']}", *([f"team:{row['team']}"] if row["team"] else [])]
    return given(
        {
            "langfuse.trace.name": row["agent"],
            "user.id": row["user_id"],
            "session.id": row["session"],
            "langfuse.trace.tags": (*mine, *tags, *(["shadow"] if row["mode"] == "shadow" else [])),
        }
    )


def _ended_at(row: AttemptRow) -> datetime | None:
    ended: datetime | None = row["done_at"] or row["in_doubt_at"] or row["settled_at"]
    return ended


def _attributes(row: AttemptRow, operation: str) -> dict[str, Value]:
    return given(
        {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": _PROVIDERS.get(row["provider"], row["provider"]),
            "gen_ai.request.model": row["model"],
            "gen_ai.request.max_tokens": row["max_output_tokens"],
            "gen_ai.request.temperature": row["temperature"],
            "gen_ai.response.id": row["provider_request_id"],
            "gen_ai.response.finish_reasons": (row["finish_reason"],) if row["finish_reason"] else (),
            "gen_ai.usage.input_tokens": _prompt_tokens(row),
            "gen_ai.usage.output_tokens": row["output_tokens"],
            "gen_ai.usage.cache_read.input_tokens": row["cache_read_tokens"] or None,
            "gen_ai.usage.cache_creation.input_tokens": row["cache_write_tokens"] or None,
            "gen_ai.agent.name": row["agent"],
            "gen_ai.conversation.id": row["session"] or row["run_id"],
            "error.type": row["error_type"],
            "curb.attempt.id": row["attempt_id"],
            "curb.run.id": row["run_id"],
            "curb.step": row["step"] or None,
            "curb.tier": row["tier"],
            "curb.deployment": row["deployment"],
            "curb.state": row["state"],
            "curb.cost_usd": row["cost_nano_usd"] / NANO_PER_USD,
            "curb.team": row["team"],
            "curb.feature": row["feature"],
            "curb.prompt_version": row["prompt_version"],
        }
    )


def _langfuse(
    row: AttemptRow, operation: str, content: Sequence[Message] | None, *, failed: bool
) -> dict[str, Value]:
    kind = "embedding" if operation == "embeddings" else "generation"
    parameters = {"temperature": row["temperature"], "max_tokens": row["max_output_tokens"]}
    began = row["first_token_at"]
    return who(row) | given(
        {
            "langfuse.observation.type": kind,
            "langfuse.observation.model.name": row["model"],
            "langfuse.observation.model.parameters": as_json(
                {name: value for name, value in parameters.items() if value is not None}
            ),
            "langfuse.observation.usage_details": as_json(_usage(row)),
            "langfuse.observation.cost_details": as_json({"total": row["cost_nano_usd"] / NANO_PER_USD}),
            "langfuse.observation.completion_start_time": as_json(began.isoformat()) if began else None,
            "langfuse.observation.metadata.prompt_version": row["prompt_version"],
            "langfuse.version": row["prompt_version"],
            "langfuse.observation.level": "ERROR" if failed else "DEFAULT",
            "langfuse.observation.status_message": row["error_message"] if failed else None,
            "langfuse.observation.input": None if content is None else as_json(_words(content[:-1])),
            "langfuse.observation.output": None if not content else as_json(_words(content[-1:])),
        }
    )


def _usage(row: AttemptRow) -> dict[str, int]:
    """Tokens by kind. The kinds are apart: `input` is without what a cache held."""
    counted = {
        "input": row["input_tokens"],
        "output": row["output_tokens"],
        "cache_read_input_tokens": row["cache_read_tokens"],
        "cache_creation_input_tokens": row["cache_write_tokens"],
    }
    return {name: tokens for name, tokens in counted.items() if tokens or name in ("input", "output")}


def _prompt_tokens(row: AttemptRow) -> int:
    return int(row["input_tokens"] + row["cache_read_tokens"] + row["cache_write_tokens"])


def _words(messages: Sequence[Message]) -> list[dict[str, object]]:
    return [message.model_dump(mode="json") for message in messages]
