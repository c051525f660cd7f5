"""The file tools stay under the agent's root, whatever a path says."""

import contextlib
import json
import os
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from activities.toolbox import Toolbox, ToolError, ToolOutcome
from activities.toolbox.builtin.confined import Confined
from activities.toolbox.builtin.files import CHUNK_BYTES, MAX_WRITE_BYTES
from gateway.agents import Agent
from gateway.calls import ToolUse


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with a neighbour that must stay out of reach."""
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "root-too").mkdir()
    (tmp_path / "root-too" / "secret.txt").write_text("secret")
    inside = tmp_path / "root"
    (inside / "notes").mkdir(parents=True)
    (inside / "hello.txt").write_text("hello\nworld\n")
    (inside / "notes" / "a.md").write_text("# a")
    return inside


async def _call(
    root: Path, name: str, mode: Literal["live", "shadow"] = "live", **arguments: Any
) -> ToolOutcome:
    async with Toolbox() as box:
        return await box.execute(
            ToolUse(id="t", name=name, arguments=json.dumps(arguments)),
            agent=Agent(name="a", tools=(name,), root=str(root)),
            mode=mode,
            idempotency_key="k",
        )


async def _ok(root: Path, name: str, **arguments: Any) -> str:
    outcome = await _call(root, name, **arguments)
    assert not outcome.result.is_error, outcome.result.content
    return outcome.result.content


async def _error(root: Path, name: str, **arguments: Any) -> str:
    outcome = await _call(root, name, **arguments)
    assert outcome.result.is_error, outcome.result.content
    assert "secret" not in outcome.result.content.replace("secret.txt", "")
    return outcome.result.content


async def test_reads_a_file(root: Path) -> None:
    assert await _ok(root, "read_file", path="hello.txt") == "hello\nworld\n"


async def test_an_absolute_path_below_the_root_is_fine(root: Path) -> None:
    assert await _ok(root, "read_file", path=str(root / "notes" / "a.md")) == "# a"


@pytest.mark.parametrize(
    "path", ["../secret.txt", "notes/../../secret.txt", "/etc/passwd", "../root-too/secret.txt", ".."]
)
@pytest.mark.parametrize("name", ["read_file", "list_files"])
async def test_paths_do_not_lead_out(root: Path, path: str, name: str) -> None:
    assert "outside" in await _error(root, name, path=path)


@pytest.mark.parametrize("path", ["../new.txt", "/tmp/curb-never.txt", "out/new.txt", "dangling"])
async def test_writing_does_not_lead_out(root: Path, path: str) -> None:
    (root / "out").symlink_to(root.parent)
    (root / "dangling").symlink_to(root.parent / "new.txt")

    assert "outside" in await _error(root, "write_file", path=path, content="x")
    assert not (root.parent / "new.txt").exists()


async def test_links_do_not_lead_out(root: Path) -> None:
    (root / "link.txt").symlink_to(root.parent / "secret.txt")
    (root / "up").symlink_to("..")
    (root / "loop").symlink_to("loop")

    assert "outside" in await _error(root, "read_file", path="link.txt")
    assert "outside" in await _error(root, "read_file", path="up/secret.txt")
    assert "outside" in await _error(root, "list_files", path="up")
    await _error(root, "read_file", path="loop")


async def test_links_inside_of_the_root_work(root: Path) -> None:
    (root / "same.txt").symlink_to("notes/a.md")

    assert await _ok(root, "read_file", path="same.txt") == "# a"


async def test_the_root_itself_may_be_a_link(root: Path) -> None:
    (root.parent / "alias").symlink_to(root)

    assert await _ok(root.parent / "alias", "read_file", path="notes/a.md") == "# a"


async def test_missing_files_are_named_without_the_root(root: Path) -> None:
    said = await _error(root, "read_file", path="nothing.txt")

    assert said == "nothing.txt: there is no such file or folder"


async def test_folders_fifos_and_nul_are_refused(root: Path) -> None:
    os.mkfifo(root / "pipe")

    assert "not a regular file" in await _error(root, "read_file", path="notes")
    assert "not a regular file" in await _error(root, "read_file", path="pipe")
    assert "NUL" in await _error(root, "read_file", path="a\x00b")
    assert "is a folder" in await _error(root, "read_file", path="")


@pytest.mark.parametrize("data", [b"PNG\x00\x01", b"\xff\xfe\xfd"])
async def test_binary_files_are_refused(root: Path, data: bytes) -> None:
    (root / "picture").write_bytes(data)

    assert "text" in await _error(root, "read_file", path="picture")


async def test_a_long_file_is_read_in_pieces_that_add_up(root: Path) -> None:
    whole = "".join(f"Zeile {i} äöü\n" for i in range(6_000))
    (root / "long.txt").write_text(whole)
    pieces, offset = [], 0
    while True:
        text = await _ok(root, "read_file", path="long.txt", offset=offset)
        body, _, note = text.rpartition("\n[")
        if "read on with offset=" not in note:
            pieces.append(text)
            break
        pieces.append(body)
        offset = int(note.rstrip("]").rpartition("=")[2])

    assert len(pieces) == len(whole.encode()) // CHUNK_BYTES + 1
    assert "".join(pieces) == whole


async def test_lists_folders_and_sizes(root: Path) -> None:
    assert await _ok(root, "list_files") == "hello.txt  12\nnotes/"


async def test_lists_below_by_pattern_without_following_links(root: Path) -> None:
    (root / "notes" / "up").symlink_to(root.parent)

    assert await _ok(root, "list_files", recursive=True) == (
        "hello.txt  12\nnotes/\nnotes/a.md  3\nnotes/up (link)"
    )
    assert await _ok(root, "list_files", recursive=True, pattern="*.md") == "notes/a.md  3"
    assert await _ok(root, "list_files", pattern="*.zip") == "(nothing)"


@pytest.mark.parametrize("path", [".env", ".git/config", "notes/.env", "link"])
async def test_hidden_files_are_out_of_reach(root: Path, path: str) -> None:
    (root / ".git").mkdir()
    for hidden in (".env", ".git/config", "notes/.env"):
        (root / hidden).write_text("secret")
    (root / "link").symlink_to(".env")

    assert "hidden" in await _error(root, "read_file", path=path)
    assert "hidden" in await _error(root, "write_file", path=path, content="x")
    assert ".env" not in await _ok(root, "list_files", recursive=True)


async def test_long_lists_are_cut(root: Path) -> None:
    for number in range(1_010):
        (root / "notes" / f"{number}.txt").touch()

    listed = (await _ok(root, "list_files", path="notes")).splitlines()

    assert len(listed) == 1_001
    assert listed[-1].startswith("[more than 1,000 entries")


async def test_writes_a_file_and_its_folders(root: Path) -> None:
    said = await _ok(root, "write_file", path="new/deep/file.txt", content="größer")

    assert said == "Wrote 8 bytes to new/deep/file.txt."
    assert (root / "new" / "deep" / "file.txt").read_text() == "größer"
    assert [p.name for p in (root / "new" / "deep").iterdir()] == ["file.txt"]


async def test_replacing_keeps_the_mode_and_never_shows_half_a_file(root: Path) -> None:
    target = root / "hello.txt"
    target.chmod(0o640)
    reader = target.open()
    await _ok(root, "write_file", path="hello.txt", content="new")

    assert target.read_text() == "new"
    assert target.stat().st_mode & 0o777 == 0o640
    with reader:
        assert reader.read() == "hello\nworld\n"


async def test_too_much_is_not_written(root: Path) -> None:
    said = await _error(root, "write_file", path="big.txt", content="x" * (MAX_WRITE_BYTES + 1))

    assert "at most 1,000,000" in said
    assert not (root / "big.txt").exists()


async def test_folders_are_not_overwritten(root: Path) -> None:
    await _error(root, "write_file", path="notes", content="x")
    await _error(root, "write_file", path="hello.txt/below", content="x")

    assert (root / "notes" / "a.md").exists()


async def test_shadow_says_what_would_be_new(root: Path) -> None:
    outcome = await _call(root, "write_file", "shadow", path="new/x.txt", content="a\nb\n")

    assert outcome.shadowed
    assert outcome.result.content == (
        "In shadow mode: write_file(path='new/x.txt', content='a\\nb\\n') was not executed. "
        "It would have created new/x.txt (4 bytes, 2 lines)."
    )
    assert not (root / "new").exists()


async def test_shadow_says_what_would_change(root: Path) -> None:
    outcome = await _call(root, "write_file", "shadow", path="hello.txt", content="hello\nthere\nworld!\n")

    assert outcome.result.content.endswith(
        "It would have replaced hello.txt: 12 -> 19 bytes, 2 lines added, 1 removed."
    )
    assert (root / "hello.txt").read_text() == "hello\nworld\n"


async def test_shadow_compares_no_binary_file(root: Path) -> None:
    (root / "picture").write_bytes(b"\xff\xfe")

    outcome = await _call(root, "write_file", "shadow", path="picture", content="x")

    assert "cannot be compared" in outcome.result.content


async def test_shadow_of_a_path_outside_is_not_described(root: Path) -> None:
    outcome = await _call(root, "write_file", "shadow", path="../secret.txt", content="x")

    assert outcome.shadowed
    assert "outside of the folder" in outcome.result.content


@settings(deadline=None)
@given(
    parts=st.lists(
        st.sampled_from(["..", ".", "", "notes", "a.md", "up", "deep", "secret.txt", "/"]), max_size=8
    )
)
def test_no_path_whatsoever_leads_out(parts: list[str]) -> None:
    with TemporaryDirectory() as directory:
        outside = Path(directory)
        (outside / "secret.txt").write_text("secret")
        (outside / "root" / "notes" / "deep").mkdir(parents=True)
        (outside / "root" / "notes" / "a.md").write_text("# a")
        (outside / "root" / "notes" / "up").symlink_to("..")
        (outside / "root" / "up").symlink_to(outside)
        try:
            with Confined(outside / "root").file("/".join(parts)) as (descriptor, _):
                assert os.read(descriptor, 100) == b"# a"
        except ToolError:
            pass


def test_a_link_put_there_in_the_meantime_is_not_followed(root: Path) -> None:
    """Reads while `notes` turns again and again into a link that leads outside."""
    (root.parent / "trap").mkdir()
    (root.parent / "trap" / "a.md").write_text("secret")
    (root / "link").symlink_to(root.parent / "trap")
    stop = threading.Event()

    def flip() -> None:
        while not stop.is_set():
            (root / "notes").rename(root / "away")
            (root / "link").rename(root / "notes")
            (root / "notes").rename(root / "link")
            (root / "away").rename(root / "notes")

    flipper = threading.Thread(target=flip)
    flipper.start()
    read = set()
    try:
        for _ in range(2_000):
            with contextlib.suppress(ToolError), Confined(root).file("notes/a.md") as (descriptor, _size):
                read.add(os.read(descriptor, 100))
    finally:
        stop.set()
        flipper.join()

    assert read <= {b"# a"}
