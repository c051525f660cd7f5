"""The entry point: the application, and what becomes of errors."""

import asyncio
import contextlib
import json
import os
import sys
import traceback
from typing import NoReturn

import typer

from worker.cli import (
    accounts,
    alerts,
    book,
    factory,
    keys,
    launching,
    reports,
    schedules,
    steering,
    story,
    switches,
)
from worker.cli.status import INTERRUPTED, Status

_DEBUG = "CURB_DEBUG"


def application() -> typer.Typer:
    """All commands, in the order of DESIGN 10."""
    app = typer.Typer(
        name="curb",
        help="Runs AI agents that cannot overspend, run away or become unstoppable.",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    app.command("dev")(factory.dev)
    app.command("demo")(story.demo)
    app.command("doctor")(factory.doctor)
    app.command("run")(launching.run)
    app.command("runs")(launching.runs)
    app.command("show")(launching.show)
    for steer in (steering.pause, steering.resume, steering.kill):
        app.command(steer.__name__)(steer)
    app.command("top-up")(steering.top_up)
    for decide in (steering.answer, steering.approve, steering.deny):
        app.command(decide.__name__)(decide)
    app.command("rate")(steering.rate)
    app.add_typer(switches.app, name="switch")
    app.add_typer(alerts.app, name="alerts")
    app.command("budgets")(accounts.budgets)
    app.command("costs")(accounts.costs)
    app.command("batches")(accounts.batches)
    app.command("report")(reports.report)
    app.add_typer(book.ledger, name="ledger")
    app.add_typer(book.policy, name="policy")
    app.add_typer(keys.app, name="keys")
    app.add_typer(schedules.app, name="schedules")
    app.command("worker")(factory.worker)
    app.command("gateway")(factory.gateway)
    app.command("migrate")(factory.migrate)
    return app


def main() -> NoReturn:
    """Run `curb`; exits with the status of DESIGN 10.

    Ends without tearing the interpreter down: threads of Temporal's SDK, which nobody can join, may
    crash in the middle of that and spoil the exit status.
    """
    status = _status()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def _status() -> int:
    try:
        application()()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else Status.FAILED if ended.code else Status.DONE
    except (KeyboardInterrupt, asyncio.CancelledError):
        return INTERRUPTED
    except BrokenPipeError:  # whoever reads our output has seen enough (`curb runs | head`)
        return Status.DONE
    except Exception as error:  # noqa: BLE001 - the outermost edge: no tracebacks for people
        return _report(error)
    return Status.DONE


def _report(error: Exception) -> int:
    """Say what went wrong, on stderr, and with --json as a document too; returns the exit status."""
    from worker.cli.errors import described

    status, message = described(error)
    if os.environ.get(_DEBUG):
        traceback.print_exception(error)
    sys.stderr.write(f"curb: {message}\n")
    if "--json" in sys.argv[1:]:
        sys.stdout.write(json.dumps({"error": {"type": type(error).__name__, "message": message}}) + "\n")
    return status
