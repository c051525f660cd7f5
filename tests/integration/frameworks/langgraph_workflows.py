"""LangGraph: the workflows that run the graphs."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from temporalio.langgraph import graph


@workflow.defn
class AskLangGraph:
    @workflow.run
    async def run(self, model: str, times: int) -> list[str]:
        return await _talk("talk", model, times)


@workflow.defn
class AskLangGraphInThreads:
    @workflow.run
    async def run(self, model: str, times: int) -> list[str]:
        return await _talk("threads", model, times)


async def _talk(name: str, model: str, times: int) -> list[str]:
    done = await graph(name).compile().ainvoke({"model": model, "left": times, "said": []})
    said: list[str] = done["said"]
    return said
