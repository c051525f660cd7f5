"""An agent with a tool of its own.

curb dev --tools examples/own_tool.py
curb run planner "How many days are there from 2026-11-21 to Christmas?"
"""

from datetime import date

from curb import Agent, tool, usd


@tool(side_effects=False)
def days_between(start: date, end: date) -> int:
    """Count the days from one date to another.

    Args:
        start: The first day, as YYYY-MM-DD.
        end: The day counted to.
    """
    return (end - start).days


planner = Agent(
    name="planner",
    instructions="Answer questions about dates. Count with days_between, never in your head.",
    tier="quick",
    tools=("days_between",),
    run_budget_nano_usd=usd("0.05"),
)
