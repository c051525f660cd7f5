"""What the documents say exists: files, commands and options, environment variables, code that compiles."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

from worker.cli.application import application
from worker.settings import variables

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path for pattern in ("*.md", "docs/**/*.md", "examples/*.md") for path in ROOT.glob(pattern)
)
_PROVIDERS = re.compile(r"CURB_TEMPORAL_TLS_")


@pytest.fixture(params=DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def document(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_links_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#\s]+)\)", document.read_text())

    assert [target for target in targets if not (document.parent / target).exists()] == []


def test_commands_and_their_options_exist(document: Path) -> None:
    unknown = [line for line in commands(document.read_text()) if not known(shlex.split(line, comments=True))]

    assert unknown == []


def test_environment_variables_are_settings(document: Path) -> None:
    named = set(re.findall(r"\bCURB_[A-Z_]*[A-Z]\b", document.read_text()))

    assert {name for name in named if name not in variables()} == set()


def test_python_compiles(document: Path) -> None:
    for code in re.findall(r"```python\n(.*?)```", document.read_text(), re.DOTALL):
        compile(code, str(document), "exec")


def commands(text: str) -> Iterator[str]:
    """Lines that call curb: in code, behind a prompt of spaces, or between backticks."""
    for line in text.splitlines():
        if match := re.match(r" {4,}(?:\.venv/bin/)?(curb [a-z].*)", line):
            yield match[1].split("   ")[0]
        yield from re.findall(r"`(curb [a-z][^`]*)`", line)


def known(words: list[str]) -> bool:
    """Whether the command exists and has the options that are given to it."""
    command = get_command(application())
    for word in words[1:]:
        if word.startswith("-"):
            options = {
                option
                for parameter in command.params
                for option in (*parameter.opts, *parameter.secondary_opts)
            }
            if word not in {*options, "--help"}:
                return False
        elif hasattr(command, "commands"):
            if word not in command.commands:
                return False
            command = command.commands[word]
    return True
