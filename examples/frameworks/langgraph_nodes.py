"""Nodes and graph of langgraph_run.py: the package wants them in a module that has a name.

Whole nodes are activities here, so curb cannot see their model calls from outside: the chat model gets curb's
HTTP clients.
"""

from datetime import timedelta
from typing import Any, TypedDict

from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, StateGraph

from curb import supervised_async_http_client, supervised_http_client


class Question(TypedDict):
    text: str


async def answer(state: Question) -> dict[str, Any]:
    """A node: the model is a tier of curb's."""
    chat = ChatOpenAI(
        model="balanced",
        api_key="curb has the keys",
        http_client=supervised_http_client(),
        http_async_client=supervised_async_http_client(),
    )
    said = await chat.ainvoke(state["text"])
    return {"text": said.text}


def research_graph() -> StateGraph[Question, None, Question, Question]:
    built = StateGraph(Question)
    options: Any = {
        "execute_in": "activity",
        "start_to_close_timeout": timedelta(minutes=3),
        "heartbeat_timeout": timedelta(seconds=20),
    }
    built.add_node("answer", answer, metadata=options)
    built.add_edge(START, "answer")
    built.add_edge("answer", END)
    return built
