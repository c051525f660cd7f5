"""A tool that people must approve."""

from curb import ToolContext, tool


@tool(side_effects=True, idempotent=True, requires_approval=True)
def refund(order: str, context: ToolContext) -> str:
    """Refund an order.

    Args:
        order: Its number.
    """
    with (context.root / "refunds.txt").open("a") as file:
        file.write(f"{order}\n")
    return f"refunded {order}"
