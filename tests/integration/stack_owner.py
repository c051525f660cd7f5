"""A process that owns a stack until it is killed.

`python -m tests.integration.stack_owner DIRECTORY SERVER...`
"""

import asyncio
import sys
from pathlib import Path

from worker.stack import FREE_PORTS, Stack


async def own(directory: Path, servers: list[str]) -> None:
    """Start the stack, print `ready`, and wait for ever."""
    async with Stack(directory, servers=servers, ports=FREE_PORTS):
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(own(Path(sys.argv[1]), sys.argv[2:]))
