"""A LangChain program, as somebody has it who knows nothing of curb: `python -m ... URL CLASS MODEL`.

A process of its own, since LangChain keeps connections open until its process ends.
"""

import json
import sys
from typing import Any

from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings


@tool
def list_files(path: str) -> str:
    """Files of a directory."""
    return f"notes.md in {path}"


def chat(url: str, kind: str, model: str) -> BaseChatModel:
    given: dict[str, Any] = {"model": model, "api_key": "curb", "max_retries": 0, "max_tokens": 300}
    if kind == "openai":
        return ChatOpenAI(base_url=f"{url}/v1", stream_usage=True, **given)
    return ChatAnthropic(base_url=url, **given)


def main(url: str, kind: str, model: str) -> dict[str, Any]:
    """What an agent's turn with a tool, and a stream, came to."""
    plain = chat(url, kind, model)
    bound = plain.bind_tools([list_files])
    asked: list[Any] = [HumanMessage("What is in the directory?")]
    first: Any = bound.invoke(asked)
    [call] = first.tool_calls
    answer: Any = bound.invoke(
        [*asked, first, ToolMessage(list_files.invoke(call["args"]), tool_call_id=call["id"])]
    )
    pieces: list[Any] = list(plain.stream("Say hello."))
    whole = pieces[0]
    for piece in pieces[1:]:
        whole = whole + piece
    vectors = OpenAIEmbeddings(
        model="openai/text-embedding-3-small",
        check_embedding_ctx_length=False,
        **{"base_url": f"{url}/v1", "api_key": "curb"},
    )
    return {
        "call": {"name": call["name"], "args": call["args"]},
        "answer": str(answer.content),
        "usage": answer.usage_metadata["output_tokens"],
        "pieces": len(pieces),
        "streamed_usage": whole.usage_metadata["output_tokens"],
        "vectors": [len(vector) for vector in vectors.embed_documents(["one", "two"])],
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(*sys.argv[1:])))
