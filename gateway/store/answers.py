"""Answers under their call keys: what makes a retry of a call free (I4).

Inside of a run the answer is the assistant's item of the conversation; for an HTTP client with an
idempotency key it is kept for a day.
"""

import json
from typing import Any

from gateway.calls import StoredAnswer
from gateway.store.conversations import append
from gateway.store.database import Database

HTTP_ANSWER_SECONDS = 86_400


class Answers:
    """Stored answers; the first one stored under a call key wins."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, call_key: str) -> StoredAnswer | None:
        """The answer of this call, if one was stored."""
        row = await self._database.row("load_answer", call_key=call_key)
        return None if row is None else _answer(call_key, row)

    async def save(
        self, conversation_id: str, answer: StoredAnswer, *, run_id: str = "", step: int = 0
    ) -> StoredAnswer:
        """Store an answer and return the one that stands: this one, or an earlier one of the call.

        conversation_id: where it becomes an item; '' for HTTP calls. run_id, step: the run whose
        record says from now on that it runs and has come to this step. Raises NotFound when there
        is no such conversation.
        """
        said = answer.model_dump_json(exclude={"message", "item", "call_key"})
        if conversation_id:
            row = await append(
                self._database,
                "append_answer",
                conversation_id,
                answer.call_key,
                answer.message,
                answer=said,
                prompt_tokens=answer.settlement.usage.prompt_tokens,
                run_id=run_id,
                step=step,
            )
            return _answer(answer.call_key, row)
        whole = json.dumps({"message": answer.message.model_dump_json(), "answer": said})
        stored = await self._database.row(
            "save_http_answer", call_key=answer.call_key, answer=whole, seconds=HTTP_ANSWER_SECONDS
        )
        standing = json.loads(stored["answer"]) if stored else json.loads(whole)
        return _answer(answer.call_key, standing)

    async def expire(self, limit: int = 1000) -> int:
        """Delete HTTP answers whose day is over, a few at a time; returns how many."""
        return len(await self._database.rows("expire_http_answers", limit=limit))


def _answer(call_key: str, row: dict[str, Any]) -> StoredAnswer:
    whole = {
        **json.loads(row["answer"]),
        "message": json.loads(row["message"]),
        "call_key": call_key,
        "item": row.get("number", -1),
    }
    return StoredAnswer.model_validate_json(json.dumps(whole))
