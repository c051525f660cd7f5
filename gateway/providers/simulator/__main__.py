"""`python -m gateway.providers.simulator --port N --data DIR [--trace CSV] [--token-delay-ms MS]`.

Prints `listening on URL` once it answers. Ends on SIGTERM and SIGINT. Exit status 3: the data
directory or the port is in use.
"""

import argparse
import asyncio
import signal
import sys
from pathlib import Path

import uvloop

from gateway.providers.simulator.invoice import Invoice, InvoiceInUse
from gateway.providers.simulator.server import Simulator, run_until, serve
from gateway.providers.simulator.traces import load

SAMPLE_TRACE = Path(__file__).with_name("sample_trace.csv")
_UNAVAILABLE = 3


def main() -> int:
    arguments = _parser().parse_args()
    try:
        uvloop.run(_run(arguments))
    except (InvoiceInUse, OSError) as error:
        sys.stderr.write(f"simulator: {error}\n")
        return _UNAVAILABLE
    return 0


async def _run(arguments: argparse.Namespace) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    trace = (
        load(SAMPLE_TRACE if arguments.trace == "sample" else Path(arguments.trace))
        if arguments.trace
        else None
    )
    invoice = Invoice(arguments.data)
    try:
        simulator = Simulator(invoice, trace=trace, token_ms=arguments.token_delay_ms)
        runner, port = await serve(simulator, arguments.host, arguments.port)
        sys.stdout.write(f"listening on http://{arguments.host}:{port}\n")
        sys.stdout.flush()
        await run_until(stopped, runner)
    finally:
        invoice.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m gateway.providers.simulator",
        description="A provider of models that speaks OpenAI's and Anthropic's wire formats and bills.",
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free one, which is printed")
    parser.add_argument("--data", type=Path, required=True, help="directory of the invoice")
    parser.add_argument("--trace", help="CSV of answers' lengths and pace; `sample`: the one shipped")
    parser.add_argument("--token-delay-ms", type=float, default=0.0, help="time that each token takes")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
