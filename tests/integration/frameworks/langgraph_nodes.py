"""LangGraph: each question is a node, which asks a chat model of LangChain's."""

from datetime import timedelta
from typing import Any, TypedDict

from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, StateGraph

from curb import supervised_async_http_client, supervised_http_client


class Talk(TypedDict):
    model: str
    left: int
    said: list[str]


def chat(model: str) -> ChatOpenAI:
    return ChatOpenAI(
        model=model,
        api_key="unused",
        http_client=supervised_http_client(),
        http_async_client=supervised_async_http_client(),
    )


async def ask(talk: Talk) -> dict[str, Any]:
    answer = await chat(talk["model"]).ainvoke(f"Part {talk['left']}.")
    return {"said": [*talk["said"], answer.text], "left": talk["left"] - 1}


def ask_in_a_thread(talk: Talk) -> dict[str, Any]:
    """No coroutine, and it streams."""
    pieces = [piece.text for piece in chat(talk["model"]).stream(f"Part {talk['left']}.")]
    return {"said": [*talk["said"], "".join(pieces)], "left": talk["left"] - 1}


async def _again(talk: Talk) -> str:
    return "ask" if talk["left"] else END


def graph_of(node: Any) -> StateGraph[Any, Any, Any, Any]:
    built = StateGraph(Talk)
    limits = {"start_to_close_timeout": timedelta(seconds=60), "heartbeat_timeout": timedelta(seconds=10)}
    options = {"execute_in": "activity", **limits}
    built.add_node("ask", node, metadata=options)
    built.add_edge(START, "ask")
    built.add_conditional_edges("ask", _again)
    return built
