"""YAML that remembers its lines, and reads scalars the way a configuration means them.

Whole numbers, true, false and null are what they look like; everything else is text, exactly as
it was written: 0.05 stays "0.05" (money never passes through a float), 06:30 and `on` stay text.
"""

import io
import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import yaml

from gateway.errors import ConfigurationError

_TAG = "tag:yaml.org,2002:"
_PLAIN = (  # tag, what it looks like, what it can begin with
    ("bool", re.compile(r"^(?:true|True|false|False)$"), "tTfF"),
    ("null", re.compile(r"^(?:~|null|Null|)$"), ("~", "n", "N", "")),
    ("int", re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$"), "-+0123456789"),
    ("merge", re.compile(r"^<<$"), "<"),
)


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file: plain dicts, lists and scalars, and where each of them stands."""

    name: str
    value: object
    _root: yaml.Node | None

    def line(self, path: Sequence[str | int]) -> int | None:
        """The line (from 1) of the deepest part of the path that is there; None in an empty file."""
        node, line = self._root, None if self._root is None else 1
        for step in path:
            found = _child(node, step)
            if found is None:
                return line
            line, node = found
        return line


def parse(text: str, name: str) -> Document:
    """Read one YAML document. Raises ConfigurationError with file and line for what is not YAML,
    and for a key that stands twice in one mapping."""
    stream = io.StringIO(text)
    stream.name = name
    loader = None
    try:
        loader = _Loader(stream)
        root = loader.get_single_node()
        return Document(name, None if root is None else loader.construct_document(root), root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigurationError(f"{name}{line}: {error.problem or error.context}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigurationError(f"{name}: this is not YAML: {error}") from error
    finally:
        if loader is not None:
            loader.dispose()


class _Loader(yaml.SafeLoader):
    """SafeLoader with fewer guesses and no duplicate keys."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - the base class declares it so
        first: [(_TAG + tag, pattern) for tag, pattern, firsts in _PLAIN if first in firsts]
        for first in {first for _, _, firsts in _PLAIN for first in firsts}
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        seen: set[object] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != f"{_TAG}merge":
                if key.value in seen:
                    problem = f"{key.value} stands here twice; keep one of them"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _child(node: yaml.Node | None, step: str | int) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for key, child in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value == str(step):
                return key.start_mark.line + 1, child
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and 0 <= step < len(node.value):
        child = node.value[step]
        return child.start_mark.line + 1, child
    return None
