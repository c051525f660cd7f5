"""Loads the Lua scripts: each is put together from the parts that its `-- needs:` line names."""

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable


@dataclass(frozen=True, slots=True)
class Script:
    """A script as Redis gets it; sha is what EVALSHA calls it by."""

    name: str
    source: str
    sha: str


def load_scripts() -> dict[str, Script]:
    """All scripts by name."""
    folder = files("gateway.state") / "scripts"
    return {
        path.name.removesuffix(".lua"): _compose(path, folder)
        for path in folder.iterdir()
        if path.name.endswith(".lua")
    }


def _compose(path: Traversable, folder: Traversable) -> Script:
    shebang, needs, body = path.read_text(encoding="utf-8").split("\n", 2)
    parts = needs.removeprefix("-- needs:").split()
    texts = [(folder / "parts" / f"{part}.lua").read_text(encoding="utf-8") for part in parts]
    source = "\n".join([shebang, *texts, body])
    digest = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
    return Script(path.name.removesuffix(".lua"), source, digest)
