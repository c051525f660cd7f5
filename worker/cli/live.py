"""Following a run to its end: a live line on a terminal, plain lines elsewhere."""

import asyncio
import time
from contextlib import nullcontext

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from worker.cli.output import bar, dollars, say, status_text
from worker.client import Launched, Progress, Runs

_HINT_SECONDS = 5.0


def announce(launched: Launched, link: str) -> None:
    """Say which run it is, and where it can be watched."""
    if launched.existed:
        say(f"run {launched.run_id} was launched before under this id; this is that run")
    else:
        say(f"run {launched.run_id} started")
    if link:
        say(f"  {link}")


async def follow(runs: Runs, run_id: str, *, quiet: bool = False) -> Progress:
    """Show steps and spend until the run has ended; returns its end."""
    err = Console(stderr=True, highlight=False)
    animated = err.is_terminal and not quiet
    started, last = time.monotonic(), ""
    hint = asyncio.create_task(_hint(runs, run_id))
    try:
        with Live(console=err, transient=True, refresh_per_second=8) if animated else nullcontext() as live:
            async for progress in runs.follow(run_id):
                elapsed = time.monotonic() - started
                if live is not None:
                    live.update(Spinner("dots", line(progress)))
                elif not quiet and (text := line(progress).plain) != last:
                    say(f"{elapsed:6.1f} s  {text}")
                    last = text
    finally:
        hint.cancel()
        await asyncio.gather(hint, return_exceptions=True)
    return progress


async def _hint(runs: Runs, run_id: str) -> None:
    """Say so when nobody takes the run."""
    await asyncio.sleep(_HINT_SECONDS)
    if (await runs.now(run_id)).status == "starting":
        say("no worker has taken it yet: is one running? (`curb dev`, or `curb worker`)")


def line(progress: Progress) -> Text:
    """One line: status, step, spend against budget, what it waits for."""
    text = status_text(progress.status)
    of = f" of {progress.max_steps}" if progress.max_steps else ""
    text.append(f" · step {progress.steps}{of} · spent {dollars(progress.cost_nano_usd)}", style="default")
    if progress.budget_nano_usd is not None:
        text.append(f" of {dollars(progress.budget_nano_usd)} ", style="default")
        text.append_text(bar(progress.cost_nano_usd, progress.budget_nano_usd, 12))
    for cause, what in progress.waiting_for.items():
        text.append(f" · waits for {cause}: {what}" if cause else f" · waits: {what}", style="yellow")
    return text
