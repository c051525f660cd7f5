"""The examples do what they say."""

from pathlib import Path

from activities.toolbox import Toolbox, agents_in
from gateway.calls import ToolUse

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
