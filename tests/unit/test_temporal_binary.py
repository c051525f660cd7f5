"""Getting the Temporal dev server: the ways in their order, with progress, and one error for all.

The programs `temporal` and `go` are played by shell scripts on a PATH of the test's own.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from worker.stack import StackError, temporal_binary
from worker.stack.temporal_binary import VERSION, cached, find_or_install, ways


@pytest.fixture(autouse=True)
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache and an empty PATH; the test puts its programs there."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", str(directory))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return directory


def script(directory: Path, name: str, *lines: str) -> Path:
    path = directory / name
    path.write_text("\n".join(("#!/bin/sh", *lines, "")))
    path.chmod(0o755)
    return path


def test_the_program_on_path_comes_first(programs: Path) -> None:
    on_path = script(programs, "temporal")
    cached().parent.mkdir(parents=True)
    script(cached().parent, cached().name)
    assert find_or_install(pytest.fail) == on_path


def test_then_the_cache(tmp_path: Path) -> None:
    cached().parent.mkdir(parents=True)
    script(cached().parent, cached().name)
    assert find_or_install(pytest.fail) == tmp_path / "cache" / "curb" / "bin" / f"temporal-{VERSION}"


def test_then_go_builds_it_into_the_cache_and_says_so(programs: Path) -> None:
    built = '{ echo "#!/bin/sh"; echo "echo built $*"; } > "$GOBIN/temporal"'
    script(programs, "go", 'echo "go: downloading x" >&2', built)
    said: list[str] = []
    program = find_or_install(said.append)
    assert program == cached()
    output = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    assert output == f"built install -v github.com/temporalio/cli/cmd/temporal@v{VERSION}\n"
    assert re.search(r"building .*go install.*2\.5 minutes", said[0])
    assert [path.name for path in cached().parent.glob(".build-*")] == [], "nothing half-made stays"


def test_progress_counts_what_is_loaded_and_compiled(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("go: downloading a v1\ngo: downloading b v2\nfmt\nnet/http\nx/y\n")
    assert temporal_binary._progress(log).startswith("2 modules loaded, 3 packages compiled")


def test_the_error_names_every_way_and_why_it_failed(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(programs, "go", 'echo "go: no such module" >&2', "exit 1")
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")  # no download from here
    with pytest.raises(StackError) as caught:
        find_or_install(lambda line: None)
    text = str(caught.value)
    assert re.search(r"1\. .*PATH.*\n.*2\. .*cache.*\n.*3\. go install: failed.*no such module", text)
    assert re.search(r"4\. SDK download: ", text)
    assert "CURB_TEMPORAL_ADDRESS" in text


def test_an_interrupted_build_is_not_followed_by_a_download(programs: Path) -> None:
    script(programs, "go", "kill -INT $$")
    with pytest.raises(StackError, match="interrupted"):
        find_or_install(lambda line: None)


def test_two_that_install_at_once_build_it_once(programs: Path, tmp_path: Path) -> None:
    count = tmp_path / "count"
    script(programs, "go", f"echo once >> {count}", 'printf "#!/bin/sh\\n" > "$GOBIN/temporal"')
    command = [sys.executable, "-m", "worker.stack", "install"]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, env=dict(os.environ)) for _ in range(2)]
    for process in both:
        _, error = process.communicate(timeout=60)
        assert process.returncode == 0, error
    assert count.read_text() == "once\n"


def test_each_way_says_what_to_do() -> None:
    by_name = {way.name: way for way in ways()}
    assert list(by_name) == ["PATH", "cache", "go install", "SDK download"]
    assert not by_name["PATH"].there
    assert all(way.remedy for way in by_name.values())
