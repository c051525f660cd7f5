"""A directory that paths cannot lead out of: not by `..`, not by symlinks, not by a race.

A path is resolved first, which finds every honest mistake; then it is opened one component at
a time without following links, so that a link put there in between is refused, not followed.
What is hidden (.env, .git, .curb, ...) is out of reach: keys to read, hooks to write.
"""

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from activities.toolbox.errors import ToolError

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # NONBLOCK: a FIFO must not hang us
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Confined:
    """Files under one root. Every method takes paths as a model writes them; raises ToolError."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    @contextlib.contextmanager
    def folder(self, path: str) -> Iterator[int]:
        """File descriptor of a directory."""
        with _explained(path), self._opened(self._parts(path)) as descriptor:
            yield descriptor

    @contextlib.contextmanager
    def file(self, path: str) -> Iterator[tuple[int, int]]:
        """File descriptor and size in bytes of a regular file."""
        parts = self._file_parts(path)
        with _explained(path), self._opened(parts[:-1]) as parent:
            descriptor = os.open(parts[-1], _FILE, dir_fd=parent)
            try:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    raise ToolError(f"{path} is not a regular file")
                yield descriptor, status.st_size
            finally:
                os.close(descriptor)

    def size(self, path: str) -> int | None:
        """Size in bytes of a file; None if nothing is there."""
        parts = self._file_parts(path)
        with contextlib.suppress(FileNotFoundError), _explained(path, missing_is_error=False):
            with self._opened(parts[:-1]) as parent:
                status = os.stat(parts[-1], dir_fd=parent, follow_symlinks=False)
            if not stat.S_ISREG(status.st_mode):
                raise ToolError(f"{path} is not a regular file")
            return status.st_size
        return None

    def replace(self, path: str, data: bytes) -> None:
        """Puts `data` there, whole or not at all; makes missing folders."""
        parts = self._file_parts(path)
        with _explained(path), self._opened(parts[:-1], make=True) as parent:
            _replace(parent, parts[-1], data)

    def _file_parts(self, path: str) -> tuple[str, ...]:
        parts = self._parts(path)
        if not parts or path.endswith("/"):
            raise ToolError(f"{path or '.'} is a folder, not a file")
        return parts

    def _parts(self, path: str) -> tuple[str, ...]:
        """Components below the root, free of links and dots."""
        if "\x00" in path:
            raise ToolError("A path cannot contain NUL")
        try:
            parts = (self._root / path).resolve().relative_to(self._root).parts
        except ValueError:
            raise ToolError(f"{path} is outside of the folder that you may use") from None
        except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
            raise ToolError(f"{path} cannot be resolved") from error
        if any(map(is_hidden, parts)):
            raise ToolError(f"{path} is hidden; names that begin with a dot are out of reach")
        return parts

    @contextlib.contextmanager
    def _opened(self, parts: tuple[str, ...], *, make: bool = False) -> Iterator[int]:
        """Descriptor of the folder under the root, opened link-free."""
        descriptor = os.open(self._root, _FOLDER)
        try:
            for part in parts:
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, dir_fd=descriptor)
                below = os.open(part, _FOLDER, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = below
            yield descriptor
        finally:
            os.close(descriptor)


def is_hidden(name: str) -> bool:
    """Whether a file or folder is one of those that stay out of reach."""
    return name.startswith(".")


def _replace(parent: int, name: str, data: bytes) -> None:
    """Writes beside the file and renames over it, keeping its mode."""
    mode = _mode(parent, name)
    temporary = f".{name[:200]}.{secrets.token_hex(8)}.tmp"
    descriptor = os.open(temporary, _NEW, 0o666, dir_fd=parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            if mode is not None:
                os.fchmod(descriptor, mode)
            stream.write(data)
            stream.flush()
            os.fsync(descriptor)
        os.replace(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=parent)
        raise
    os.fsync(parent)


def _mode(parent: int, name: str) -> int | None:
    """Permission bits of the file that is to be replaced; None if there is none."""
    try:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        raise ToolError(f"{name} is not a regular file")
    return stat.S_IMODE(status.st_mode)


@contextlib.contextmanager
def _explained(path: str, *, missing_is_error: bool = True) -> Iterator[None]:
    """Turns what the operating system says into a sentence without absolute paths."""
    try:
        yield
    except FileNotFoundError as error:
        if not missing_is_error:
            raise
        raise ToolError(f"{path}: there is no such file or folder") from error
    except OSError as error:
        raise ToolError(f"{path}: {error.strerror or 'cannot be used'}") from error
