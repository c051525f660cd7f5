"""PostgreSQL refuses to run as root. Started by root, it runs as an account without rights."""

import os
import pwd
import shutil
import stat
import subprocess
from pathlib import Path

from worker.stack.errors import StackError
from worker.stack.kinds import Say

_PREFERRED = ("pgserver", "postgres")
_LAST_RESORT = "nobody"
_READ = stat.S_IRGRP | stat.S_IROTH
_ENTER = stat.S_IXGRP | stat.S_IXOTH


def unprivileged() -> str | None:
    """The account that PostgreSQL runs as: None (our own) unless we are root.

    As root: `pgserver` or `postgres` where they exist, else `pgserver` made by useradd, else
    `nobody`. Raises StackError when there is none of them.
    """
    if os.geteuid() != 0:
        return None
    found = existing()
    if found not in _PREFERRED and _create(_PREFERRED[0]):
        found = _PREFERRED[0]
    if found is None:
        raise StackError(
            "PostgreSQL does not run as root, and there is no other account for it. "
            f"Make one with `useradd --system {_PREFERRED[0]}`, or run curb as another user."
        )
    return found


def existing() -> str | None:
    """The best account that is there already, or None."""
    return next((name for name in (*_PREFERRED, _LAST_RESORT) if _exists(name)), None)


def open_ancestors(path: Path, say: Say) -> None:
    """Let other accounts pass through (not list) the directories above `path`."""
    for directory in path.resolve().parents:
        mode = directory.stat().st_mode
        if not mode & stat.S_IXOTH:
            say(
                f"{directory}: others may now pass through it (chmod o+x), as PostgreSQL does not run as root"
            )
            directory.chmod(mode | stat.S_IXOTH)


def open_tree(directory: Path, say: Say) -> None:
    """Let other accounts read and run what lies under `directory` (a strict umask forbids it)."""
    open_ancestors(directory, say)
    if directory.stat().st_mode & stat.S_IXOTH and _readable(directory / "bin" / "postgres"):
        return
    for path in (directory, *directory.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            enter = _ENTER if mode & stat.S_IXUSR else 0
            path.chmod(mode | _READ | enter)


def _readable(path: Path) -> bool:
    wanted = stat.S_IROTH | stat.S_IXOTH
    return path.stat().st_mode & wanted == wanted


def _exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _create(name: str) -> bool:
    useradd = shutil.which("useradd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if useradd is None:
        return False
    made = subprocess.run(
        (useradd, "--system", "--user-group", name), capture_output=True, timeout=30, check=False
    )
    return made.returncode == 0
