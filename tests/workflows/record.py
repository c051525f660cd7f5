"""Record the histories that tests/workflows replays.

    python -m tests.workflows.record                  # all of them, about a minute
    python -m tests.workflows.record question shadow  # only these scenarios

Starts servers of its own in a temporary directory (the embedded stack and the simulated provider),
plays each scenario of `scenarios.py`, and writes what Temporal kept of it to
`histories/SCENARIO[.PART].json`: a part for each workflow, and for each link of one that continued as
new. What was said in the conversations goes to `histories/words/SCENARIO.json`, for the test that
looks for it in the histories.

When to record. A history that is checked in stands for runs that are alive somewhere while curb is
upgraded. If a change of workflow code breaks the replay, guard the change with
`workflow.patched("what-changed")` so that old histories still replay, and record new histories
beside the old ones under a new name. Recording over old histories is right only for versions that
were never released.
"""

import asyncio
import contextlib
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from temporalio.client import Client, WorkflowHandle

from gateway.calls import Message, Text, ToolResult, ToolUse
from gateway.store.migrate import migrate
from tests.integration.runs import Factory, serving
from tests.integration.world import config
from tests.simulated import SimulatedProvider
from tests.workflows.scenarios import INSTRUCTIONS, MODELS, SCENARIOS, TASK, Stage, agents
from worker.client import Runs
from worker.stack import FREE_PORTS, Stack
from worker.temporal import connect
from worker.wiring import Servers

HISTORIES = Path(__file__).with_name("histories")
WORDS = HISTORIES / "words"
OWN = [str(Path(__file__).parents[1] / "integration" / name) for name in ("own_tools.py", "own_workflows.py")]


async def record(names: Sequence[str]) -> None:
    """Play these scenarios and write their histories."""
    async with _stage() as stage:
        for name in names:
            ids = await SCENARIOS[name](stage)
            _forget(name)
            parts = [part for id in ids for part in await links(stage.factory.client, id)]
            for number, part in enumerate(parts, start=1):
                suffix = f".{number}" if len(parts) > 1 else ""
                write(HISTORIES / f"{name}{suffix}.json", part)
            write(WORDS / f"{name}.json", json.dumps(await _words(stage.factory, ids)))
            sys.stdout.write(f"{name}: {len(parts)}\n")


@contextlib.asynccontextmanager
async def _stage() -> AsyncIterator[Stage]:
    provider = SimulatedProvider()
    try:
        with tempfile.TemporaryDirectory(prefix="curb-record-") as directory:
            root = Path(directory) / "root"
            root.mkdir()
            (root / "notes.txt").write_text("Lighthouses were the first public safety network.\n")
            servers = ("valkey", "postgres", "temporal")
            async with Stack(Path(directory), servers=servers, ports=FREE_PORTS) as stack:
                migrate(stack.database_url)
                client = await connect(stack.temporal_address)
                async with serving(
                    client,
                    Servers(stack.redis_url, stack.database_url),
                    config(provider.url, ("balanced", MODELS)),
                    agents(root),
                    tools=OWN,
                ) as factory:
                    yield Stage(factory, Runs(client, factory.store, factory.authority))
    finally:
        provider.stop()


async def links(client: Client, workflow_id: str) -> list[str]:
    """The histories of a workflow, one for each time that it continued as new, oldest first."""
    run_id = (await client.get_workflow_handle(workflow_id).describe()).raw_description
    first = run_id.workflow_execution_info.first_run_id
    found = []
    while first:
        handle: WorkflowHandle[object, object] = client.get_workflow_handle(workflow_id, run_id=first)
        history = await handle.fetch_history()
        found.append(history.to_json())
        first = history.events[-1].workflow_execution_continued_as_new_event_attributes.new_execution_run_id
    return found


async def _words(factory: Factory, ids: Sequence[str]) -> list[str]:
    """What was said in the conversations of these runs and what their tools were given and returned.

    Without the sentences that curb itself puts into conversations. A workflow of the user's own
    passes its words through its history itself.
    """
    said = {TASK, INSTRUCTIONS}
    for id in ids:
        for record in await factory.store.runs.list(limit=1000):
            if record.id == id and not id.startswith("Talk"):
                items = await factory.store.conversations.load(record.conversation_id)
                said |= {text for item in items for text in _said(item.message)}
    return sorted(text for text in said if len(text) >= 8)


def _said(message: Message) -> list[str]:
    found = []
    for part in message.parts:
        match part:
            case Text():
                found.append(part.text)
            case ToolUse():
                found += [str(value) for value in json.loads(part.arguments).values()]
            case ToolResult(is_error=False):
                found.append(part.content)
    return found


def _forget(name: str) -> None:
    for path in (*HISTORIES.glob(f"{name}.json"), *HISTORIES.glob(f"{name}.[0-9]*.json")):
        path.unlink()


def write(path: Path, text: str) -> None:
    """Write JSON on one line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(json.loads(text), separators=(",", ":"), ensure_ascii=False) + "\n")


if __name__ == "__main__":
    asyncio.run(record(sys.argv[1:] or list(SCENARIOS)))
