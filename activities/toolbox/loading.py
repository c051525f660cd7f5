"""`--tools module-or-file`: brings the user's own Python in, and finds what is in it."""

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from activities.toolbox.marks import ToolFunction, mark_of
from gateway.agents import Agent
from gateway.errors import ConfigurationError


def load_module(source: str) -> ModuleType:
    """Imports a module (`mytools.search`) or a file (`tools.py`, `./lib/tools.py`), once.

    Modules are looked for in the current directory too; a file may import its neighbours.
    Raises ConfigurationError that names the source and the cause.
    """
    if source.endswith(".py") or "/" in source:
        return _from_file(source, Path(source).expanduser().resolve())
    _make_importable(Path.cwd())
    return _imported(source, source)


def marked(module: ModuleType) -> Iterator[ToolFunction]:
    """Everything in a module that carries a `@tool` mark, each thing once."""
    found = {id(value): value for value in vars(module).values() if mark_of(value)}
    yield from found.values()


def unmarked(module: ModuleType) -> Iterator[ToolFunction]:
    """Public functions that the module itself defines without a mark: tools if an agent says so."""
    for name, value in vars(module).items():
        own = inspect.isfunction(value) and value.__module__ == module.__name__
        if own and not name.startswith("_") and mark_of(value) is None:
            yield value


def agents_in(module: ModuleType) -> tuple[Agent, ...]:
    """The agents that a module defines, each once, in order."""
    found = {id(value): value for value in vars(module).values() if isinstance(value, Agent)}
    return tuple(found.values())


def _from_file(source: str, path: Path) -> ModuleType:
    if not path.is_file():
        raise ConfigurationError(f"--tools {source}: there is no such file ({path})")
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:8]
    name = f"curb_tools_{path.stem}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    _make_importable(path.parent)
    finder = _File(name, path)
    sys.meta_path.append(finder)
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        sys.meta_path.remove(finder)
        raise _failed(source, error) from error


class _File(MetaPathFinder):
    """Finds one file under its module name: Temporal's sandbox imports a workflow's module again."""

    def __init__(self, name: str, path: Path) -> None:
        self._name = name
        self._path = path

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._name:
            return None
        return importlib.util.spec_from_file_location(fullname, self._path)


def _imported(source: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name == missing or name.startswith(f"{missing}."):
            raise ConfigurationError(
                f"--tools {source}: there is no module {missing!r}, neither installed nor in {Path.cwd()}"
            ) from error
        raise _failed(source, error) from error
    except (Exception, SystemExit) as error:
        raise _failed(source, error) from error


def _failed(source: str, error: BaseException) -> ConfigurationError:
    """An error that says where in the user's file it happened."""
    where = ""
    frames = inspect.getinnerframes(error.__traceback__) if error.__traceback__ else []
    if frames:
        where = f" ({frames[-1].filename}, line {frames[-1].lineno})"
    return ConfigurationError(
        f"--tools {source}: importing it failed: {type(error).__name__}: {error}{where}"
    )


def _make_importable(folder: Path) -> None:
    """Last on the path, so that nothing there can stand in for an installed package."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
