"""Files under Agent.root: read, list, write. Text only, bounded in size."""

import codecs
import fnmatch
import os
from collections.abc import Iterator
from difflib import SequenceMatcher
from itertools import islice

from activities.toolbox.builtin.confined import Confined, is_hidden
from activities.toolbox.context import ToolContext
from activities.toolbox.errors import ToolError
from activities.toolbox.marks import tool

CHUNK_BYTES = 48_000  # leaves room for the note below the 64 kB of a result
MAX_WRITE_BYTES = 1_000_000
MAX_ENTRIES = 1_000
_MAX_VISITED = 50_000
_MAX_DIFF_LINES = 2_000  # comparing is quadratic
_SNIFFED_BYTES = 8_192


@tool(side_effects=False)
def read_file(path: str, context: ToolContext, offset: int = 0) -> str:
    """Read a text file. Long files come in pieces; the note at the end says how to read on.

    Args:
        path: Path relative to your folder.
        offset: Byte to start at.
    """
    if offset < 0:
        raise ToolError("offset must be 0 or more")
    with Confined(context.root).file(path) as (descriptor, size):
        _refuse_binary(path, os.pread(descriptor, _SNIFFED_BYTES, 0))
        data = os.pread(descriptor, CHUNK_BYTES, offset)
    text, used = _decoded(path, data, last=offset + len(data) >= size)
    left = size - offset - used
    return f"{text}\n[{left:,} more bytes; read on with offset={offset + used}]" if left > 0 else text


@tool(side_effects=False)
def list_files(context: ToolContext, path: str = ".", pattern: str = "*", recursive: bool = False) -> str:
    """List files and folders, one a line: folders end in "/", files are followed by their size in bytes.

    Args:
        path: Folder, relative to yours.
        pattern: Only names like this, for example "*.md".
        recursive: Also what is in the folders below.
    """
    with Confined(context.root).folder(path) as descriptor:
        walked = _below(descriptor) if recursive else _entries(descriptor, "")
        visited = list(islice(walked, _MAX_VISITED + 1))
    found = sorted(line for name, line in visited[:_MAX_VISITED] if _matches(name, pattern))
    cut = len(found) > MAX_ENTRIES or len(visited) > _MAX_VISITED
    more = [f"[more than {MAX_ENTRIES:,} entries; narrow it with path or pattern]"] if cut else []
    return "\n".join([*found[:MAX_ENTRIES], *more]) or "(nothing)"


def would_write(path: str, content: str, context: ToolContext) -> str:
    """What write_file would do: new or changed, sizes, lines added and removed."""
    data = _encoded(content)
    lines = content.splitlines()
    place = Confined(context.root)
    size = place.size(path)
    if size is None:
        return f"It would have created {path} ({len(data):,} bytes, {len(lines):,} lines)."
    summary = f"It would have replaced {path}: {size:,} -> {len(data):,} bytes"
    before = _current_lines(place, path, size)
    if before is None:
        return f"{summary} (the file as it is cannot be compared)."
    if len(before) > _MAX_DIFF_LINES or len(lines) > _MAX_DIFF_LINES:
        return f"{summary}, {len(before):,} -> {len(lines):,} lines."
    added, removed = _changes(before, lines)
    return f"{summary}, {added} lines added, {removed} removed."


@tool(side_effects=True, idempotent=True, shadow=would_write)
def write_file(path: str, content: str, context: ToolContext) -> str:
    """Write a text file, replacing it if it exists; missing folders are made.

    Args:
        path: Path relative to your folder.
        content: The whole new content.
    """
    data = _encoded(content)
    Confined(context.root).replace(path, data)
    return f"Wrote {len(data):,} bytes to {path}."


def _refuse_binary(path: str, start: bytes) -> None:
    if b"\x00" in start:
        raise ToolError(f"{path} is not a text file")


def _decoded(path: str, data: bytes, *, last: bool) -> tuple[str, int]:
    """Text, and how many of the bytes it takes: a character cut in two waits for the next piece."""
    try:
        text, used = codecs.utf_8_decode(data, "strict", last)
    except UnicodeDecodeError as error:
        raise ToolError(f"{path} is not UTF-8 text (or offset is inside of a character)") from error
    if "\x00" in text:
        raise ToolError(f"{path} is not a text file")
    return text, used


def _encoded(content: str) -> bytes:
    data = content.encode("utf-8", "replace")  # a model can write half a surrogate pair in JSON
    if len(data) > MAX_WRITE_BYTES:
        raise ToolError(f"content has {len(data):,} bytes; at most {MAX_WRITE_BYTES:,} can be written")
    return data


def _entries(descriptor: int, prefix: str) -> Iterator[tuple[str, str]]:
    """Path and line of everything in one folder."""
    with os.scandir(descriptor) as entries:
        for entry in entries:
            if is_hidden(entry.name):
                continue
            name = prefix + entry.name.encode("utf-8", "replace").decode()
            yield name, _line(entry, name)


def _below(descriptor: int) -> Iterator[tuple[str, str]]:
    """Path and line of everything in a folder and the folders below; links are not followed."""
    for folder, folders, files, at in os.fwalk(".", dir_fd=descriptor, follow_symlinks=False):
        del files
        folders[:] = [name for name in folders if not is_hidden(name)]  # what fwalk visits next
        inside = os.path.normpath(folder)
        yield from _entries(at, "" if inside == "." else f"{inside}/")


def _line(entry: "os.DirEntry[str]", name: str) -> str:
    if entry.is_symlink():
        return f"{name} (link)"
    if entry.is_dir(follow_symlinks=False):
        return f"{name}/"
    try:
        return f"{name}  {entry.stat(follow_symlinks=False).st_size}"
    except OSError:  # gone since
        return name


def _matches(name: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(name.rpartition("/")[2], pattern)


def _current_lines(place: Confined, path: str, size: int) -> list[str] | None:
    if size > MAX_WRITE_BYTES:
        return None
    with place.file(path) as (descriptor, _):
        data = os.pread(descriptor, MAX_WRITE_BYTES, 0)
    try:
        return data.decode().splitlines()
    except UnicodeDecodeError:
        return None


def _changes(before: list[str], after: list[str]) -> tuple[int, int]:
    """Lines added and removed."""
    blocks = SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks()
    kept = sum(block.size for block in blocks)
    return len(after) - kept, len(before) - kept
