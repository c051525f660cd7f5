"""`--tools module-or-file`, and how an agent's names find their tools."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from activities.toolbox import Toolbox, agents_in
from gateway.agents import Agent, McpServer
from gateway.errors import ConfigurationError

SOURCE = '''
from neighbour import GREETING

from activities.toolbox import tool
from gateway.agents import Agent

greeter = Agent(name="greeter", tools=("greet",))
same = greeter


@tool(side_effects=False)
def greet(name: str) -> str:
    """Greet somebody."""
    return f"{GREETING} {name}"


def plain(value: int) -> int:
    return value


def helper(*rest):
    return rest


def _hidden() -> None: ...
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with tools in it that is the current directory; imports are undone."""
    (tmp_path / "house_tools.py").write_text(SOURCE)
    (tmp_path / "neighbour.py").write_text("GREETING = 'Hello'\n")
    (tmp_path / "broken.py").write_text("x = 1\nraise RuntimeError('no luck')\n")
    (tmp_path / "needs.py").write_text("import not_there_at_all\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize("source", ["house_tools", "house_tools.py", "./house_tools.py"])
async def test_loads_a_module_or_a_file(folder: Path, source: str) -> None:
    box = Toolbox()
    module = box.load(source)

    assert agents_in(module) == (Agent(name="greeter", tools=("greet",)),)
    tools = await box.resolve(Agent(name="a", tools=("greet",)))
    assert not tools["greet"].side_effects


async def test_loading_twice_is_loading_once(folder: Path) -> None:
    box = Toolbox()

    assert box.load("house_tools.py") is box.load(str(folder / "house_tools.py"))


async def test_an_unmarked_function_is_a_tool_if_an_agent_names_it(folder: Path) -> None:
    box = Toolbox()
    box.load("house_tools")

    tools = await box.resolve(Agent(name="a", tools=("plain",)))

    assert tools["plain"].at_most_once
    assert "_hidden" not in box.names


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("missing.py", r"--tools missing.py: there is no such file"),
        ("missing_module", r"there is no module 'missing_module', neither installed nor in"),
        ("missing_package.module", r"there is no module 'missing_package'"),
        ("broken.py", r"importing it failed: RuntimeError: no luck \(.*broken.py, line 2\)"),
        ("broken", r"importing it failed: RuntimeError: no luck"),
        ("needs", r"ModuleNotFoundError: No module named 'not_there_at_all'"),
    ],
)
def test_what_cannot_be_loaded_says_why(folder: Path, source: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Toolbox().load(source)


def test_an_unknown_tool_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(ConfigurationError, match=r"Agent a uses tool 'raed_file'.*did you mean 'read_file'"):
        Toolbox().check(Agent(name="a", tools=("raed_file",)))


def test_two_tools_of_one_name_are_refused() -> None:
    def read_file(path: str) -> str:
        return path

    with pytest.raises(ConfigurationError, match="Two tools are called 'read_file'"):
        Toolbox().add(read_file)


def test_two_servers_of_one_name_are_refused() -> None:
    servers = (McpServer(name="s", url="http://localhost"), McpServer(name="s", command=("x",)))

    with pytest.raises(ConfigurationError, match="two MCP servers called 's'"):
        Toolbox().check(Agent(name="a", mcp=servers))


async def test_specs_come_in_the_order_of_the_agent() -> None:
    specs = await Toolbox().specs(Agent(name="a", tools=("write_file", "read_file")))

    assert [spec.name for spec in specs] == ["write_file", "read_file"]
