"""Questions to people. The workflow waits for the answer, so there is nothing to do here."""

from activities.toolbox.errors import ToolError
from activities.toolbox.marks import ToolMark, put_mark


def ask_human(question: str) -> str:
    """Ask a person, and wait for the answer. Use it when you cannot decide or know something alone.

    Args:
        question: What you need to know, with all that the person needs to answer it.
    """
    raise ToolError(f"Nobody is there to be asked: {question}")


put_mark(ask_human, ToolMark(side_effects=False, idempotent=True, handled_by_workflow=True))
