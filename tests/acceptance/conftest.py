"""One `curb dev` for the folder, with agents whose models behave in known ways."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.command import Curb, Dev

_MODELS = ("loop", "ask", "spend-1000-4", "say-400+slow-stream-150", "steady-2")
_AGENTS = """
agents:
  worker: {tier: openai/gpt-5-mini, tools: [list_files, read_file, write_file], root: files, run_budget: 0.5}
  looper: {tier: "openai/gpt-5-mini@loop", tools: [list_files], root: files}
  asker: {tier: "openai/gpt-5-mini@ask", tools: [ask_human]}
  spender:
    tier: "openai/gpt-5-mini@spend-1000-4"
    tools: [list_files, read_file]
    root: files
    max_output_tokens: 1200
    run_budget: 0.006
    on_budget: pause
  talker: {tier: "openai/gpt-5-mini@say-400+slow-stream-150"}
  chatter: {tier: "openai/gpt-5-mini@say-400+slow-stream-150"}
  shadow: {tier: openai/gpt-5-mini, tools: [list_files, write_file], root: files, mode: shadow}
  editor: {tier: "openai/gpt-5-mini@steady-2", tools: [publish]}
"""
_TOOLS = '''
from curb import tool


@tool(side_effects=True, requires_approval=True)
def publish(title: str) -> str:
    """Publish something.

    Args:
        title: What.
    """
    return f"published {title}"
'''


@pytest.fixture(scope="package")
def curb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Curb]:
    """Commands in a directory where `curb dev` runs."""
    directory = tmp_path_factory.mktemp("acceptance")
    furnish(directory)
    commands = Curb(directory)
    dev = Dev(commands, "--tools", "tools.py")
    yield commands
    assert dev.stop() == 0, dev.errors.read_text()


@pytest.fixture
def nowhere(tmp_path: Path) -> Curb:
    """Commands in an empty directory: no servers, no configuration."""
    return Curb(tmp_path)


def furnish(directory: Path) -> None:
    """curb.yaml, a tool that needs approval, and files to look at."""
    models = "".join(f'  "openai/gpt-5-mini@{name}": {{price_model: gpt-5-mini}}\n' for name in _MODELS)
    (directory / "curb.yaml").write_text(f"deployments:\n{models}{_AGENTS}")
    (directory / "tools.py").write_text(_TOOLS)
    (directory / "files").mkdir()
    for name in ("one.md", "two.md", "three.md"):
        (directory / "files" / name).write_text(f"# {name}\n")
