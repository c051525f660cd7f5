"""Programs of other people's environments, run as they would run them, each printing JSON by the line."""

import asyncio
import json
import os
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Any

GPT, CLAUDE = "gpt-5-mini@steady-2", "claude-sonnet-4-5@steady-2"
GPT_SLOW, CLAUDE_SLOW = "gpt-5-mini@say-400+slow-stream-20", "claude-sonnet-4-5@say-400+slow-stream-20"
# Names that LlamaIndex's Anthropic knows: it asks for no others.
ALIASES = {"claude-haiku-4-5": f"openai/{GPT}", "claude-sonnet-4-5": f"anthropic/{CLAUDE}"}
_HERE = Path(__file__).parent
_PYTHON = _HERE.parents[1] / ".clients/llama-index/bin/python"
LLAMA_INDEX = (str(_PYTHON), str(_HERE / "llama-index/client.py"))
NODE = ("node", str(_HERE / "node/client.js"))
_SECONDS = 120


class Program:
    """A program that runs; `async with` ends it whatever happens."""

    def __init__(self, *command: str) -> None:
        self._command = command

    async def __aenter__(self) -> "Program":
        ours = {name: said for name, said in os.environ.items() if not name.startswith("PYTHON")}
        self._process: Process = await asyncio.create_subprocess_exec(
            *self._command, env=ours, stdout=PIPE, stderr=PIPE
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self._process.kill()
            await self._process.communicate()

    async def said(self) -> Any:
        """Its next line, which it must say."""
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), _SECONDS)
        return json.loads(line) if line else await self.ended()

    async def ended(self) -> Any:
        """Its last line, once it ended well."""
        out, err = await asyncio.wait_for(self._process.communicate(), _SECONDS)
        assert self._process.returncode == 0, err.decode()
        return json.loads(out)


async def told(*command: str) -> Any:
    """The one line of a program that ends well."""
    async with Program(*command) as program:
        return await program.ended()
