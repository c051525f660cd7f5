"""What other accounts may see of a directory that PostgreSQL needs when curb runs as root."""

import os
import stat
from pathlib import Path

import pytest

from worker.stack.accounts import open_ancestors, open_tree, unprivileged


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """A directory below one that only its owner may enter."""
    inner = tmp_path / "closed" / "data"
    inner.mkdir(parents=True)
    (tmp_path / "closed").chmod(0o700)
    return inner


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_ancestors_may_be_passed_through_but_not_listed_and_it_is_said(closed: Path) -> None:
    said: list[str] = []
    open_ancestors(closed, said.append)
    assert mode(closed.parent) == 0o701
    assert any(str(closed.parent) in line and "chmod o+x" in line for line in said)


def test_what_is_open_already_is_left_alone(closed: Path) -> None:
    open_ancestors(closed, lambda line: None)
    open_ancestors(closed, pytest.fail)


def test_a_tree_under_a_strict_umask_becomes_readable(closed: Path) -> None:
    program = closed / "bin" / "postgres"
    program.parent.mkdir(mode=0o700)
    program.write_text("")
    program.chmod(0o700)
    notes = closed / "notes"
    notes.write_text("")
    notes.chmod(0o600)
    open_tree(closed, lambda line: None)
    assert (mode(program), mode(program.parent), mode(notes)) == (0o755, 0o755, 0o644)


@pytest.mark.skipif(os.geteuid() == 0, reason="about users other than root")
def test_whoever_is_not_root_needs_no_other_account() -> None:
    assert unprivileged() is None


@pytest.mark.skipif(os.geteuid() != 0, reason="about root")
def test_root_has_another_account_for_postgresql() -> None:
    assert unprivileged() in ("pgserver", "postgres", "nobody")
