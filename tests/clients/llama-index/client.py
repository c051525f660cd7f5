"""A LlamaIndex program, as somebody has it who knows nothing of curb: `python client.py URL CLASS MODEL`."""

import asyncio
import json
import sys
from typing import Any

from llama_index.core.llms import ChatMessage
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.tools import FunctionTool
from llama_index.llms.anthropic import Anthropic
from llama_index.llms.openai_like import OpenAILike

HELLO = [ChatMessage(role="system", content="Be brief."), ChatMessage(role="user", content="Say hello.")]


def list_files(path: str) -> str:
    """Files of a directory."""
    return f"notes.md in {path}"


def model_of(url: str, kind: str, model: str) -> FunctionCallingLLM:
    given: dict[str, Any] = {"model": model, "api_key": "curb", "max_tokens": 300, "max_retries": 0}
    if kind == "anthropic":
        return Anthropic(base_url=url, **given)
    return OpenAILike(api_base=f"{url}/v1", is_chat_model=True, is_function_calling_model=True, **given)


def turn(llm: FunctionCallingLLM) -> dict[str, Any]:
    """Ask, carry out the tool that was asked for, and ask again."""
    tool = FunctionTool.from_defaults(list_files)
    asked = [ChatMessage(role="user", content="What is in the directory?")]
    first = llm.chat_with_tools([tool], chat_history=asked)
    [call] = llm.get_tool_calls_from_response(first)
    result = ChatMessage(
        role="tool",
        content=str(tool(**call.tool_kwargs)),
        additional_kwargs={"tool_call_id": call.tool_id},
    )
    answer = llm.chat_with_tools([tool], chat_history=[*asked, first.message, result])
    return {"call": {"name": call.tool_name, "args": call.tool_kwargs}, "answer": answer.message.content}


def streamed_call(llm: FunctionCallingLLM) -> dict[str, Any]:
    """The tool that a stream asks for."""
    tool = FunctionTool.from_defaults(list_files)
    *_, last = llm.stream_chat_with_tools([tool], user_msg="What is in the directory?")
    [call] = llm.get_tool_calls_from_response(last)
    return {"name": call.tool_name, "args": call.tool_kwargs}


def main(url: str, kind: str, model: str) -> dict[str, Any]:
    """What a chat, a stream, an agent's turn with a tool, and an asynchronous chat came to."""
    llm = model_of(url, kind, model)
    pieces = [piece.delta for piece in llm.stream_chat(HELLO)]
    return {
        "said": llm.chat(HELLO).message.content,
        "pieces": len(pieces),
        "streamed": "".join(piece or "" for piece in pieces),
        "turn": turn(llm),
        "streamed_call": streamed_call(llm),
        "later": asyncio.run(llm.achat(HELLO)).message.content,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(*sys.argv[1:])))
