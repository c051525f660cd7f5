"""How the demo came out: for programs, and as people read it."""

import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from gateway.reconcile import Report
from worker.cli.output import console, dollars, shortened, status_text, table, usd_text
from worker.client import Progress
from worker.demo.scenes import Ending


@dataclass(slots=True)
class Outcome:
    """What came of it. problems: what did not come out as it should. alerts: how many there were."""

    endings: dict[str, Ending]
    problems: list[str]
    report: Report
    overspend_nano_usd: int
    temporal_ui: str
    console: str
    cost_report: Path
    alerts: int

    @property
    def went_well(self) -> bool:
        report = self.report
        booked = report.invoice_nano_usd in (None, report.ledger_nano_usd)
        return not self.problems and report.ok and booked and not self.overspend_nano_usd

    @property
    def kill_ms(self) -> float | None:
        return next((each.kill_ms for each in self.endings.values() if each.kill_ms is not None), None)


def document(outcome: Outcome) -> dict[str, Any]:
    """What --json prints."""
    report = outcome.report
    return {
        "runs": [_run(ending.run) for ending in outcome.endings.values()],
        "kill_in_flight_ms": outcome.kill_ms,
        "ledger_usd": usd_text(report.ledger_nano_usd),
        "invoice_usd": usd_text(report.invoice_nano_usd),
        "overspend_usd": usd_text(outcome.overspend_nano_usd),
        "in_doubt_usd": usd_text(report.in_doubt_nano_usd),
        "alerts": outcome.alerts,
        "cost_report": str(outcome.cost_report),
        "temporal_ui": outcome.temporal_ui,
        "console": outcome.console,
    }


def _run(run: Progress) -> dict[str, Any]:
    return {
        "id": run.run_id,
        "agent": run.agent,
        "status": run.status,
        "reason": run.reason,
        "steps": run.steps,
        "cost_usd": usd_text(run.cost_nano_usd),
    }


def tell(outcome: Outcome, directory: Path, config: Path, *, keep: bool) -> None:
    """Tables, links and how to come back, for people."""
    out = console()
    out.print()
    out.print(_runs_table(outcome))
    out.print()
    out.print(_books_table(outcome))
    out.print()
    for problem in outcome.problems:
        out.print(Text("✗ ", style="red").append(problem, style="default"))
    if outcome.went_well:
        out.print("[green]Everything came out as it should.[/green]")
    out.print(f"Temporal UI, each run with its history: {outcome.temporal_ui}")
    if keep:
        out.print(f"The console, what costs what and what is switched off: {outcome.console}")
    out.print(f"The day's cost report, for a browser: {_short(outcome.cost_report)}", markup=False)
    if not keep:
        places = {"CURB_DATA_DIR": directory, "CURB_CONFIG": config}
        curb = "curb" if shutil.which("curb") else _short(Path(sys.argv[0]).absolute())
        flag = "" if outcome.report.invoice_nano_usd is not None else " --live"
        last = next(reversed(outcome.endings), "RUN")
        out.print("The servers are stopped now. This brings them back, with all of it in them:")
        out.print("  export " + " ".join(f"{n}={_short(path)}" for n, path in places.items()), markup=False)
        out.print(f"  {curb} dev{flag}", markup=False)
        out.print("and in another terminal, after the same export:", markup=False)
        out.print(f"  {curb} show {last}", markup=False)
        out.print(f"  {curb} alerts list --all", markup=False)


def _runs_table(outcome: Outcome) -> Table:
    rows = table(*("agent", "status", "steps", "cost", "how"), right=("steps", "cost"), wrap=("how",))
    for name, ending in outcome.endings.items():
        run = ending.run
        how = run.reason or _TOLD.get(name, "")
        rows.add_row(
            name, status_text(run.status), str(run.steps), dollars(run.cost_nano_usd), shortened(how)
        )
    return rows


_TOLD = {
    "steady": "looked at its files, wrote notes.md",
    "overspender": "paused for money, topped up, went on",
    "shadow": "its write_file is on record and did not happen",
    "talker": "cut in flight by SET kill:agent:talker, went on after DEL",
    "survivor": "its worker was killed -9 in the middle of a call",
}


def _books_table(outcome: Outcome) -> Table:
    report = outcome.report
    rows = table("", "", "", right=(), wrap=())
    rows.add_row("ledger", dollars(report.ledger_nano_usd), "what curb has booked")
    if report.invoice_nano_usd is not None:
        equal = (
            "equal to the nano-dollar" if report.invoice_nano_usd == report.ledger_nano_usd else "DIFFERENT"
        )
        rows.add_row("invoice", dollars(report.invoice_nano_usd), f"what the provider billed: {equal}")
    rows.add_row("in doubt", dollars(report.in_doubt_nano_usd), f"{report.settled} doubts were resolved")
    rows.add_row("overspent", dollars(outcome.overspend_nano_usd), "over any hard budget")
    if outcome.kill_ms is not None:
        rows.add_row(
            "cut in flight", f"{outcome.kill_ms:.0f} ms", "from SET to the end of the provider's stream"
        )
    rows.add_row(
        "alerts", str(outcome.alerts), "told by the worker's log; Slack, pager, mail: docs/channels.md"
    )
    return rows


def _short(path: Path) -> str:
    """As a shell takes it, relative to where we are when it is below."""
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))
