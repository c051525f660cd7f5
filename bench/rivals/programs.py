"""How the other gateways are started: one process each, as for production, without budgets or a database."""

import contextlib
import json
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from bench.gateways import Gateway, Program, running
from bench.rivals import install
from worker.stack.ports import free_port

LITELLM, PORTKEY = "LiteLLM", "Portkey"
_KEY = "sk-bench"
_OPTIONS = ("--host", "127.0.0.1", "--num_workers", "1", "--telemetry", "False")


@contextlib.asynccontextmanager
async def litellm(provider_port: int) -> AsyncIterator[Gateway]:
    """Its proxy with one worker, which checks one key in memory."""
    command, port = await install.litellm(), free_port()
    model = {"model": "openai/gpt-5-mini", "api_base": _provider(provider_port), "api_key": _KEY}
    config = {
        "model_list": [{"model_name": "quick", "litellm_params": model}],
        "general_settings": {"master_key": _KEY},
    }
    with tempfile.TemporaryDirectory(prefix="curb-bench-") as scratch:
        (Path(scratch) / "config.yaml").write_text(json.dumps(config))  # YAML takes JSON
        program = Program(
            LITELLM,
            (command, "--config", "config.yaml", "--port", str(port), *_OPTIONS),
            port,
            Path(scratch),
            {"authorization": f"Bearer {_KEY}"},
            {
                "LITELLM_MODE": "PRODUCTION",
                "LITELLM_LOG": "ERROR",
                "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it asks the Internet for prices
            },
        )
        async with running(program) as gateway:
            yield gateway


@contextlib.asynccontextmanager
async def portkey(provider_port: int) -> AsyncIterator[Gateway]:
    """Its gateway, which knows no keys: each request says where it goes."""
    script, port = await install.portkey(), free_port()
    headers = {
        "authorization": f"Bearer {_KEY}",
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": _provider(provider_port),
    }
    with tempfile.TemporaryDirectory(prefix="curb-bench-") as scratch:
        command = ("node", script, "--headless", f"--port={port}")
        environment = {"NODE_ENV": "production"}
        async with running(Program(PORTKEY, command, port, Path(scratch), headers, environment)) as gateway:
            yield gateway


def _provider(port: int) -> str:
    return f"http://127.0.0.1:{port}/v1"
