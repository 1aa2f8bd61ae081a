"""Terminals, files and pipes of every kind: a code page without a character, a reader that has gone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from tests.conftest import MakeSong

NAME = "Café 音 🎵 ½"
"""Of these cp1252 has the é and the ½, ASCII none."""

ENCODINGS = pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])


class Run(Protocol):
    """Runs a command on streams of an encoding, in the test's own folder."""

    def __call__(
        self, encoding: str, *arguments: str | Path, stdout: int = ..., stderr: int = ...
    ) -> subprocess.CompletedProcess[bytes]: ...


@pytest.fixture
def unbuffered() -> str:
    """Whether what is printed is written at once: an empty string for no."""
    return ""


@pytest.fixture
def run(environment: dict[str, str], tmp_path: Path, unbuffered: str) -> Run:
    def run(
        encoding: str, *arguments: str | Path, stdout: int = subprocess.PIPE, stderr: int = subprocess.PIPE
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-m", "outpaint_mcp", *map(str, arguments)],
            env=os.environ | environment | {"PYTHONIOENCODING": encoding, "PYTHONUNBUFFERED": unbuffered},
            cwd=tmp_path,
            stdout=stdout,
            stderr=stderr,
            check=False,
        )

    return run


@ENCODINGS
def test_every_command_prints_what_the_code_page_lacks(run: Run, make_song: MakeSong, encoding: str) -> None:
    song = make_song(f"{NAME}.wav")
    extended = run(encoding, "extend", song, "--after", "1")
    listed = run(encoding, "list")
    refused = run(encoding, "extend", f"{NAME} gone.wav")
    analyzed = run(encoding, "analyze", song)
    for done in (extended, listed, refused, analyzed):
        assert b"Traceback" not in done.stderr
        assert b"Error" not in done.stderr
    assert [done.returncode for done in (extended, listed, refused, analyzed)] == [0, 0, 3, 0]
    shown = {
        "ascii": b"Caf\\u00e9 \\u97f3 \\ud83c\\udfb5 \\u00bd",
        "cp1252": b"Caf\xe9 \\u97f3 \\ud83c\\udfb5 \xbd",
        "utf-8": NAME.encode(),
    }[encoding]
    for output in (extended.stdout, listed.stdout, refused.stderr, analyzed.stdout):
        assert shown in output


@ENCODINGS
def test_json_is_json_in_every_code_page(run: Run, make_song: MakeSong, encoding: str) -> None:
    song = make_song(f"{NAME}.wav")
    extended = json.loads(run(encoding, "extend", song, "--after", "1", "--json").stdout.decode(encoding))
    assert NAME in extended["path"]
    [listed] = json.loads(run(encoding, "list", "--json").stdout.decode(encoding))["requests"]
    assert listed["title"] == NAME
    assert (
        NAME in json.loads(run(encoding, "extend", f"{NAME}.mp3", "--json").stdout.decode(encoding))["error"]
    )
    assert json.loads(run(encoding, "analyze", song, "--json").stdout.decode(encoding))["title"] == NAME


@pytest.mark.skipif(os.name == "nt", reason="a closed pipe is another error there")
@pytest.mark.parametrize(
    "arguments",
    [
        ["list"],
        ["list", "--json"],
        ["extend", "song.wav", "--after", "1"],
        ["extend", "song.wav", "--after", "1", "--json"],
        ["extend", "gone.wav", "--json"],
        ["analyze", "song.wav"],
        ["analyze", "song.wav", "--json"],
        ["demo", "--output", "demo"],
        ["--help"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize(("closed", "unbuffered"), [("stdout", ""), ("both", "1")])
def test_a_reader_that_has_gone_ends_a_command_quietly(
    run: Run, song: Path, arguments: list[str], closed: str
) -> None:
    if arguments == ["list"]:
        assert (
            run("utf-8", "extend", song, "--after", "1").returncode == 0
        )  # so that there is something to print
    reader, writer = os.pipe()
    os.close(reader)
    arguments = [str(song) if each == "song.wav" else each for each in arguments]
    stderr = writer if closed == "both" else subprocess.PIPE
    done = run("utf-8", *arguments, stdout=writer, stderr=stderr)
    os.close(writer)
    assert done.returncode == (
        141 if arguments != ["--help"] else done.returncode and 141
    )  # argparse may not mind
    assert b"Traceback" not in (done.stderr or b"")
    assert b"BrokenPipe" not in (done.stderr or b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
def test_output_that_finds_no_room_is_reported(run: Run) -> None:
    with Path("/dev/full").open("wb") as full:
        done = run("utf-8", "list", "--json", stdout=full.fileno())
    assert (done.returncode, done.stderr.decode().count("\n")) == (6, 1)
    assert b"No space left" in done.stderr


@pytest.mark.parametrize("folder", ["out.v2", "a/b.c/out.wav", "out.v2/"])
def test_the_demo_goes_into_any_folder(run: Run, tmp_path: Path, folder: str) -> None:
    done = run("utf-8", "demo", "--output", folder)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / folder / "Outpaint demo.wav").is_file()
    assert len([*(tmp_path / folder).iterdir()]) == 2


def test_a_request_is_fetched_into_any_folder(run: Run, song: Path, tmp_path: Path) -> None:
    request_id = json.loads(run("utf-8", "extend", song, "--after", "1", "--json").stdout)["request_id"]
    (tmp_path / "is.wav").mkdir()
    for output in ("is.wav", "new.wav/", "new.v2"):
        done = run("utf-8", "get", request_id, "--output", output)
        assert done.stdout.decode() == f"{tmp_path / output}/song, extended 1s after.wav\n"


def test_a_folder_that_cannot_be_created_is_refused_in_words(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for command in (["demo"], ["extend", "data:audio/wav;base64,UklGRg=="]):
        done = run("utf-8", *command, "--output", "file/out.v2")
        assert done.returncode == 6
        assert b"Cannot create the folder" in done.stderr
        assert b"Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="a folder in which nothing can be created")
def test_a_demo_that_fails_says_why(run: Run, tmp_path: Path, environment: dict[str, str]) -> None:
    environment["OUTPAINT_DATA_DIR"] = "/proc/nope"
    done = run("utf-8", "demo", "--output", str(tmp_path / "demo"))
    assert done.returncode == 4
    assert b"Traceback" not in done.stderr
    assert b"/proc/nope" in done.stderr
    assert [path.name for path in (tmp_path / "demo").iterdir()] == ["Outpaint demo.wav"]


def test_a_link_that_leads_out_of_its_folder_may_be_named_at_a_terminal(
    run: Run, song: Path, tmp_path: Path
) -> None:
    for name in ("far", "near"):
        (tmp_path / name).mkdir()
    song = song.rename(tmp_path / "far" / "tune.wav")
    (tmp_path / "near" / "link.wav").symlink_to(song)
    assert run("utf-8", "extend", "near/link.wav", "--after", "1").returncode == 0
