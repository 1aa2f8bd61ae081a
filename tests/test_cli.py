"""The command line: what it prints where, and the code it ends with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import soundfile
from tests.stores import add, claim

from outpaint_mcp import __version__, errors
from outpaint_mcp.cli.commands import write_new
from outpaint_mcp.cli.main import main
from outpaint_mcp.models import Status
from outpaint_mcp.storage.store import Store

if sys.platform != "win32":
    import resource

if TYPE_CHECKING:
    from tests.conftest import MakeSong

    from outpaint_mcp.config import Settings


@pytest.fixture(autouse=True)
def _environment(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def run(*arguments: str | Path) -> int:
    """Run the command in this process; returns its exit code."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.smoke
def test_extending_prints_the_path_and_nothing_else_on_stdout(
    song: Path, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("extend", song, "--after", "1") == 0
    captured = capsys.readouterr()
    path = Path(captured.out.rstrip("\n"))
    assert path == settings.output_dir / "song, extended 1s after.wav"
    assert soundfile.info(path).frames == 4 * 16_000
    assert "bit for bit" in captured.err
    assert "\r" not in captured.err  # no progress line where there is no terminal


def test_extending_prints_json_for_programs(song: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("extend", song, "--before", "0.5", "--after", "1", "--seed", "5", "--tags", "x", "--json") == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert (result["status"], result["before_seconds"], result["after_seconds"]) == ("completed", 0.5, 1)
    assert result["seed"] == 5
    assert Path(result["path"]).is_file()
    assert captured.err == ""


def test_times_are_taken_as_a_player_shows_them(song: Path, capsys: pytest.CaptureFixture[str]) -> None:
    times = ("--before", "0:01", "--after", "00:00:01.5", "--from", "0:00.5", "--to", "0:02")
    assert run("extend", song, *times, "--json") == 0
    assert json.loads(capsys.readouterr().out)["duration_seconds"] == 4.0


@pytest.mark.parametrize(
    ("output", "place"),
    [
        ("takes", "takes/song, extended 1s after.wav"),
        ("takes/mine.wav", "takes/mine.wav"),
        ("takes v1.5", "takes v1.5/song, extended 1s after.wav"),
        ("takes.wav/", "takes.wav/song, extended 1s after.wav"),
        ("takes v1.5/mine.v2.wav", "takes v1.5/mine.v2.wav"),
    ],
)
def test_the_longer_file_goes_where_it_was_wanted(
    song: Path, tmp_path: Path, output: str, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("extend", song, "--after", "1", "--output", f"{tmp_path}/{output}") == 0
    assert Path(capsys.readouterr().out.strip()) == tmp_path / place
    assert (tmp_path / place).is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["mine.wma"], "WMA is not an output format. Use .wav, .flac, .mp3, .m4a, .ogg or .opus."),
        (["mine.aac"], "AAC is not an output format"),
        (["mine.wv"], "WV is not an output format"),
        (["mine.xyz"], "XYZ is not an output format"),
        (["mine.mp3", "--format", "wav24"], "--format: mine.mp3 ends in .mp3"),
        (["mine.wav", "--format", "flac"], "--format: mine.wav ends in .wav"),
        (["mine.wav", "--bitrate", "320"], "--bitrate: A bit rate is for mp3, m4a, ogg, opus"),
        (["mine.mp3", "--bitrate", "20"], "--bitrate: mp3 can have 64 to 320"),
        (["mine.m4a", "--format", "alac", "--bitrate", "256"], "--bitrate: A bit rate is for"),
    ],
)
def test_a_format_that_is_not_made_is_refused_before_any_work(
    song: Path, tmp_path: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("extend", song, "--output", tmp_path / arguments[0], *arguments[1:]) == 2
    assert words in capsys.readouterr().err
    assert not list(tmp_path.glob("mine*"))
    assert run("list") == 0
    assert capsys.readouterr().err == "No requests yet.\n"


@pytest.mark.parametrize(
    ("arguments", "name", "format_"),
    [
        (["--output", "mine.mp3"], "mine.mp3", "MP3"),
        (["--output", "mine.opus"], "mine.opus", "OGG"),
        (["--output", "mine", "--format", "flac"], "mine/song, extended 1s after.flac", "FLAC"),
        (["--output", "mine", "--part", "after"], "mine/song, 1s after.wav", "WAV"),
    ],
)
def test_the_longer_file_has_the_form_that_was_wanted(  # noqa: PLR0913
    song: Path,
    tmp_path: Path,
    arguments: list[str],
    name: str,
    format_: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("extend", song, "--after", "1", *arguments) == 0
    assert capsys.readouterr().out == f"{tmp_path / name}\n"
    assert soundfile.info(tmp_path / name).format == format_


def test_a_dry_run_prints_what_would_be_done_and_starts_nothing(
    song: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("extend", song, "--after", "2", "--dry-run") == 0
    assert "run this again without --dry-run" in capsys.readouterr().out
    assert run("extend", song, "--after", "2", "--dry-run", "--provider", "runcomfy", "--json") == 0
    assert json.loads(capsys.readouterr().out)["provider"] == "runcomfy"
    assert run("extend", song, "--provider", "runcomfy") == 5
    assert "RUNCOMFY_API_TOKEN" in capsys.readouterr().err
    assert run("list") == 0
    assert capsys.readouterr().err == "No requests yet.\n"


def test_a_total_a_placement_and_an_ending_can_be_asked_for(
    song: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "cut.wav"
    asked = ("--total", "0:07.5", "--after", "9", "--ending", "cut", "--placement", "outside")
    assert run("extend", song, *asked, "--output", output) == 0
    assert "--after is ignored, since --total is given." in capsys.readouterr().err
    info = soundfile.info(output)
    assert info.frames == round(7.5 * info.samplerate)
    assert run("extend", song, "--total", "1") == 2
    assert "--total: The source already lasts" in capsys.readouterr().err


def test_takes_are_printed_one_a_line_and_compared(
    song: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("extend", song, "--after", "1", "--takes", "2", "--output", tmp_path / "takes") == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert {Path(line).name for line in lines} == {
        "song, extended 1s after, take 1.wav",
        "song, extended 1s after, take 2.wav",
    }
    assert "take" in captured.err
    assert run("list") == 0
    assert all(line in capsys.readouterr().out for line in lines[:1])


def test_the_longer_file_may_have_the_sources_name_with_another_suffix(
    song: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for suffix in (".mp3", ".flac"):
        assert run("extend", song, "--after", "1", "--output", song.with_suffix(suffix)) == 0
        assert capsys.readouterr().out == f"{song.with_suffix(suffix)}\n"


def test_takes_are_not_fetched_into_one_file(
    song: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("extend", song, "--after", "1", "--takes", "2", "--json") == 0
    request_id = json.loads(capsys.readouterr().out)["request_id"]
    assert run("get", request_id, "--output", tmp_path / "mine.wav") == 2
    assert "name a folder" in capsys.readouterr().err
    assert not (tmp_path / "mine.wav").exists()


def test_takes_do_not_go_into_one_file(
    song: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("extend", song, "--takes", "2", "--output", tmp_path / "mine.wav") == 2
    assert "name a folder" in capsys.readouterr().err


@pytest.mark.smoke
def test_a_recording_is_told_and_drawn(
    song: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "song.png"
    assert run("analyze", song, "--picture", picture) == 0
    captured = capsys.readouterr()
    assert "loudness lufs" in captured.out
    assert str(picture) in captured.err
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert run("analyze", song, "--picture", picture) == 6
    assert "nothing is overwritten" in capsys.readouterr().err
    assert run("analyze", song, "--json") == 0
    assert json.loads(capsys.readouterr().out)["details"]["seconds"] == 3


def test_a_picture_that_cannot_be_put_anywhere_is_refused_before_the_recording_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "link.png").symlink_to(tmp_path / "nowhere.png")
    for place, reason in (
        ("file/song.png", "Cannot create the folder"),
        ("link.png", "nothing is overwritten"),
    ):
        assert run("analyze", "gone.wav", "--picture", tmp_path / place) == 6
        assert reason in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
def test_a_picture_for_which_there_is_no_room_leaves_nothing_behind(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises(errors.DeliveryFailed, match="cannot be written"):
            write_new(tmp_path / "song.png", bytes(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [*tmp_path.glob("*.png*")] == []


def test_a_picture_never_takes_the_place_of_what_was_put_there_meanwhile(tmp_path: Path) -> None:
    (tmp_path / "song.png").write_text("the person's own")
    with pytest.raises(errors.DeliveryFailed, match="cannot be written"):
        write_new(tmp_path / "song.png", b"ours")
    assert (tmp_path / "song.png").read_text() == "the person's own"


def test_an_output_that_is_taken_is_not_overwritten(
    song: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.wav").write_text("the person's own")
    assert run("extend", song, "--after", "1", "--output", tmp_path / "mine.wav") == 6
    assert "nothing is overwritten" in capsys.readouterr().err
    assert (tmp_path / "mine.wav").read_text() == "the person's own"


def test_a_file_named_at_a_terminal_may_lie_anywhere(
    song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "elsewhere").mkdir()
    song.rename(tmp_path / "elsewhere" / "tune.wav")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert run("extend", "tune.wav", "--after", "1") == 0
    assert capsys.readouterr().out.endswith("tune, extended 1s after.wav\n")


def test_an_earlier_request_is_extended_by_its_id_and_both_are_listed(
    song: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("extend", song, "--after", "1", "--json") == 0
    first = json.loads(capsys.readouterr().out)["request_id"]
    assert run("extend", first, "--after", "1", "--json") == 0
    second = json.loads(capsys.readouterr().out)["request_id"]

    assert run("list", "--json") == 0
    listed = json.loads(capsys.readouterr().out)["requests"]
    assert [each["request_id"] for each in listed] == [second, first]
    assert listed[0]["parent_request_id"] == first

    assert run("list", "--limit", "1") == 0
    [line] = capsys.readouterr().out.splitlines()
    assert second in line
    assert "completed" in line
    assert line.endswith("song, extended 2s after.wav")


def test_a_list_of_nothing_is_empty(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list") == 0
    assert capsys.readouterr().out == ""
    assert run("list", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"requests": [], "spent_usd": 0, "open_estimate_usd": 0}


def test_files_are_listed_one_a_line(
    make_song: MakeSong, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_song("My Track (final mix 2).wav", seconds=61.2, sample_rate=8_000)
    make_song("other.wav")
    assert run("files", "track") == 0
    captured = capsys.readouterr()
    [line] = captured.out.splitlines()
    assert line.split()[2] == "1:01"
    assert line.endswith("  My Track (final mix 2).wav")
    assert captured.err == "1 of 1 files, best match first.\n"
    (tmp_path / "elsewhere").mkdir()
    make_song("other.wav").rename(tmp_path / "elsewhere" / "third.wav")
    assert run("files", "--folder", tmp_path / "elsewhere", "--json") == 0
    [file] = json.loads(capsys.readouterr().out)["files"]
    assert (file["name"], file["duration_seconds"]) == ("third.wav", 3)
    assert run("files", "--folder", tmp_path / "nowhere") == 3
    assert "is outside the folders" in capsys.readouterr().err


@pytest.mark.parametrize("where", ["Music", "elsewhere"])
def test_a_name_that_fits_one_file_is_taken(
    song: Path,
    tmp_path: Path,
    where: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / where).mkdir(exist_ok=True)
    song.rename(tmp_path / where / "My Track (final mix 2).wav")
    monkeypatch.chdir(tmp_path / "elsewhere" if where == "elsewhere" else tmp_path)
    assert run("extend", "my track", "--after", "1") == 0
    captured = capsys.readouterr()
    assert Path(captured.out.strip()).name == "My Track (final mix 2), extended 1s after.wav"
    assert captured.err.startswith('Source: "My Track (final mix 2).wav". Accepted.')


@pytest.mark.parametrize("command", ["list", "files"])
@pytest.mark.parametrize("limit", ["0", "-1", "1000000000000000000000", "many"])
def test_a_limit_that_is_none_is_refused(
    command: str, limit: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command, "--limit", limit) == 2
    assert "limit" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["extend", "./gone.wav"], 3, "There is no file"),
        (["extend", "gone.wav"], 3, '"gone.wav" is not there. Searched: '),
        (["extend", "http://example.com/a.mp3"], 3, "https"),
        (["extend", "https://127.0.0.1/a.mp3"], 3, "private"),
        (["extend", "https://nothing.invalid/a.mp3"], 3, "nothing.invalid"),
        (["extend", "data:audio/wav;base64,bm90IGF1ZGlv"], 3, "audio"),
        (["extend", "op_00000000000000000000"], 7, "No request has the id"),
        (["extend", "song.wav", "--after", "0"], 2, "nothing to extend"),
        (["extend", "song.wav", "--after", "241"], 2, "--after: "),
        (["extend", "song.wav", "--before", "nan"], 2, "--before: "),
        (["extend", "song.wav", "--seed", "-2"], 2, "seed"),
        (["extend", "song.wav", "--after", "long"], 2, "give seconds, or 1:23"),
        (["extend", "song.wav", "--to", "1:75"], 2, "--to: '1:75' is no time"),
        (["extend"], 2, "SOURCE"),
        (["prolong"], 2, "invalid choice"),
        (["serve", "--http", "--host", "0.0.0.0"], 8, "--host 0.0.0.0 is not allowed"),
        (["serve", "--http", "--host", "192.168.0.5"], 8, "loopback address"),
        (["serve", "--http", "--host", "example.com"], 8, "loopback address"),
        (["serve", "--http", "--host", "::"], 8, "loopback address"),
    ],
)
def test_what_goes_wrong_is_told_on_stderr_with_a_code_of_its_kind(
    arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == code
    captured = capsys.readouterr()
    assert said in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (Status.FAILED, errors.InvalidRequest("It broke."), 2),
        (Status.FAILED, errors.UnsupportedAudio("It broke."), 3),
        (Status.FAILED, errors.WorkerDied("It broke."), 4),
        (Status.FAILED, errors.InsufficientBalance("It broke."), 5),
        (Status.UNKNOWN, errors.SubmissionUnknown("It broke."), 5),
        (Status.FAILED, errors.StorageFailed("It broke."), 6),
        (Status.FAILED, errors.InternalError("It broke."), 70),
    ],
    ids=repr,
)
def test_a_request_that_failed_ends_with_the_code_of_what_went_wrong(
    settings: Settings,
    status: Status,
    error: errors.OutpaintError,
    code: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store = Store(settings.data_dir)
    request_id = add(store)
    store.queue.end(claim(store).lease, status, error=error)
    store.close()
    assert run("get", request_id) == code
    assert capsys.readouterr() == ("", "outpaint-mcp: It broke.\n")


@pytest.mark.parametrize("name", ["~nosuchuser/x", "x" * 300 + ".wav", "caf\udce9.wav"])
@pytest.mark.parametrize("where", ["source", "output", "picture"])
def test_a_name_that_no_file_can_have_is_refused_in_words(
    song: Path, capsys: pytest.CaptureFixture[str], name: str, where: str
) -> None:
    arguments: dict[str, list[str | Path]] = {
        "source": ["analyze", name],
        "output": ["extend", song, "--output", name],
        "picture": ["analyze", song, "--picture", name],
    }
    is_other_text = where == "source" and "caf" in name  # which a file that is read may have
    assert run(*arguments[where]) == (3 if is_other_text else 2)
    captured = capsys.readouterr()
    beginning = "There is no file" if is_other_text else "The name"
    assert captured.err.startswith(f"outpaint-mcp: {beginning} ")
    assert "Traceback" not in captured.err


def test_a_setting_that_cannot_be_used_is_told_before_anything_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OUTPAINT_DATA_DIR", "relative")
    assert run("list") == 8
    assert capsys.readouterr().err.startswith("outpaint-mcp: OUTPAINT_DATA_DIR is 'relative'")


@pytest.mark.parametrize("arguments", [[], ["serve", "--http", "--port", "0"], ["demo"]], ids=" ".join)
def test_a_provider_that_does_not_exist_ends_every_command_before_it_begins(
    environment: dict[str, str], settings: Settings, arguments: list[str]
) -> None:
    command = [sys.executable, "-m", "outpaint_mcp", *arguments]
    nonsense = os.environ | environment | {"OUTPAINT_PROVIDER": "nonsense"}
    done = subprocess.run(
        command, env=nonsense, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    words = "outpaint-mcp: OUTPAINT_PROVIDER is 'nonsense'; use one of auto, runcomfy, local.\n"
    assert (done.returncode, done.stdout, done.stderr) == (8, "", words)
    assert not settings.data_dir.exists()
    assert not settings.output_dir.exists()


def test_a_data_folder_that_cannot_be_used_is_told(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.data_dir.touch()
    assert run("list") == 6
    assert "OUTPAINT_DATA_DIR" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals and process groups are POSIX")
def test_ctrl_c_while_it_waits_cancels_the_request(
    make_song: MakeSong, capsys: pytest.CaptureFixture[str]
) -> None:
    song = make_song(seconds=20)
    outer, inner = os.openpty()
    extending = subprocess.Popen(
        [sys.executable, "-m", "outpaint_mcp", "extend", song, "--before", "240", "--after", "240"],
        stdout=subprocess.PIPE,
        stderr=inner,
        start_new_session=True,
    )
    os.close(inner)
    drawn = b""
    while b"\r[" not in drawn:  # the bar: it waits
        drawn += os.read(outer, 1 << 16)
    os.killpg(extending.pid, signal.SIGINT)
    printed, _ = extending.communicate(timeout=60)
    with suppress(OSError):  # how Linux tells the end of a terminal
        while part := os.read(outer, 1 << 16):
            drawn += part
    os.close(outer)
    assert (extending.returncode, printed) == (130, b"")
    assert b"Traceback" not in drawn
    assert run("list", "--json") == 0
    [listed] = json.loads(capsys.readouterr().out)["requests"]
    assert listed["status"] == "cancelled"


@pytest.mark.parametrize("arguments", [["--help"], ["extend", "--help"], ["serve", "--help"]])
def test_help_is_given(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*arguments) == 0
    assert "usage: outpaint-mcp" in capsys.readouterr().out


@pytest.mark.smoke
def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out == f"outpaint-mcp {__version__}\n"


def test_the_root_of_the_errors_is_never_raised_itself() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in Path(errors.__file__).parent.rglob("*.py"))
    assert "raise OutpaintError(" not in source


@pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals are POSIX")
def test_on_a_terminal_a_progress_line_is_drawn_and_wiped_away(song: Path) -> None:
    outer, inner = os.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "outpaint_mcp", "extend", song, "--after", "1"],
        stdout=subprocess.PIPE,
        stderr=inner,
        text=True,
        check=True,
    )
    os.close(inner)
    drawn = b""
    while True:
        try:
            part = os.read(outer, 1 << 16)
        except OSError:  # how Linux tells the end of a terminal
            break
        if not part:
            break
        drawn += part
    os.close(outer)
    assert done.stdout.endswith("song, extended 1s after.wav\n")
    assert b"\r[" in drawn
    assert b" s  " in drawn  # the time it has taken; a job this short may be over before it is seen at work
    assert b"\r" + b" " * 79 + b"\r" in drawn
