"""The examples do what they say."""

from pathlib import Path

from activities.toolbox import Toolbox, agents_in
from gateway.calls import ToolUse
from worker.config import load_config

EXAMPLES = Path(__file__).parents[2] / "examples"


async def test_the_agent_with_its_own_tool() -> None:
    async with Toolbox() as box:
        (planner,) = agents_in(box.load(str(EXAMPLES / "own_tool.py")))
        outcome = await box.execute(
            ToolUse(id="t", name="days_between", arguments='{"start": "2026-11-21", "end": "2026-12-24"}'),
            agent=planner,
            mode="live",
            idempotency_key="k",
        )

    assert outcome.result.content == "33"


async def test_the_agent_in_yaml_has_the_built_in_tools() -> None:
    agent = load_config(EXAMPLES / "agent.yaml").agents["librarian"]
    async with Toolbox() as box:
        tools = await box.resolve(agent)

    assert list(tools) == ["list_files", "read_file", "write_file", "http_get", "ask_human"]
    assert [name for name, tool in tools.items() if tool.side_effects] == ["write_file"]
