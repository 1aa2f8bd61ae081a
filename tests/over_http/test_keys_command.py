"""`outpaint-mcp keys`: a key is shown once, its hash is what stays."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from outpaint_mcp.cli.keys import _add
from outpaint_mcp.cli.main import main
from outpaint_mcp.server.http.api_keys import VARIABLE, ApiKeys

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs the command; returns its exit code, what it printed, and what it had to say."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv(VARIABLE, raising=False)
    # They change the process for good, which here is the tests'.
    monkeypatch.setattr("outpaint_mcp.workers.cage.shield_process", lambda: None)
    monkeypatch.setattr("outpaint_mcp.cli.main.keep_private", lambda: None)

    def command(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["keys", *arguments])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return command


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: object) -> Path:
    assert run is not None
    path = tmp_path / "keys"
    monkeypatch.setenv(VARIABLE, f"@{path}")
    return path


def test_a_key_is_long_recognisable_and_shown_once(
    run: Callable[..., tuple[int, str, str]], file: Path
) -> None:
    code, out, err = run("add", "alice")
    key = out.strip()
    assert code == 0
    assert re.fullmatch(r"outpaint_[A-Za-z0-9_-]{43}", key)
    assert key not in err
    assert str(file) in err
    assert file.read_text() == f"alice={hashlib.sha256(key.encode()).hexdigest()}\n"
    found = ApiKeys(f"@{file}").find(key.encode())
    assert found is not None
    assert found.name == "alice"
    if os.name == "posix":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_what_is_in_the_file_stays_as_it_is(run: Callable[..., tuple[int, str, str]], file: Path) -> None:
    before = "# ours\n\nnot an entry\nzoe=" + "0" * 64 + ";expires=2027-01-31\n"
    file.write_text(before.rstrip("\n"))
    assert run("add", "alice")[0] == 0
    assert file.read_text().startswith(before + "alice=")
    assert run("remove", "alice")[0] == 0
    assert file.read_text() == before
    assert [path.name for path in file.parent.glob(".keys*")] == []


def test_a_file_behind_a_link_stays_behind_it(
    run: Callable[..., tuple[int, str, str]], file: Path, tmp_path: Path
) -> None:
    real = tmp_path / "elsewhere"
    real.write_text("")
    file.symlink_to(real)
    assert run("add", "alice")[0] == 0
    assert file.is_symlink()
    assert real.read_text().startswith("alice=")


def test_those_who_add_at_once_all_get_in(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"caller-{number}" for number in range(12)]
    with ThreadPoolExecutor(6) as threads:
        for done in [threads.submit(_add, name, None) for name in names]:
            done.result()
    shown = capsys.readouterr().out.split()
    keys = ApiKeys(f"@{file}")
    assert sorted(each.name for key in shown if (each := keys.find(key.encode()))) == sorted(names)


def test_without_a_file_it_prints_the_entry(
    run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, out, err = run("add", "alice", "--expires", "2127-01-31")
    entry = f"alice={hashlib.sha256(out.strip().encode()).hexdigest()};expires=2127-01-31"
    assert entry in err
    assert VARIABLE in err
    monkeypatch.setenv(VARIABLE, entry)
    assert run("add", "alice")[0] == 2
    assert run("list")[1].split() == ["alice", "until", "2127-01-31"]
    code, _, err = run("remove", "alice")
    assert (code, "names no file" in err) == (2, True)


def test_they_are_listed_without_anything_that_lets_one_in(
    run: Callable[..., tuple[int, str, str]], file: Path
) -> None:
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    shown = run("add", "bob")[1].strip()
    with file.open("a") as more:
        more.write(f"late={'0' * 64};expires={yesterday}\nnonsense\n")
    code, out, err = run("list")
    assert code == 0
    assert [line.split() for line in out.splitlines()] == [
        ["bob", "for", "ever"],
        ["late", "until", str(yesterday), "(over)"],
    ]
    assert hashlib.sha256(shown.encode()).hexdigest() not in out + err
    assert "3" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["add", "Alice"], "small letters"),
        (["add", "../alice"], "small letters"),
        (["add", ""], "small letters"),
        (["add", "a" * 65], "small letters"),
        (["add", "taken"], "already"),
        (["add", "late", "--expires", "2020-01-01"], "is over"),
        (["add", "late", "--expires", "soon"], "no day"),
        (["remove", "nobody"], "no key of 'nobody'"),
        ([], "required"),
    ],
)
def test_what_cannot_be_done_is_refused_and_changes_nothing(
    run: Callable[..., tuple[int, str, str]], file: Path, arguments: list[str], words: str
) -> None:
    run("add", "taken")
    before = file.read_bytes()
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert words in err
    assert file.read_bytes() == before


def test_a_file_that_cannot_be_written_is_named(
    run: Callable[..., tuple[int, str, str]], file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text("a file is no folder")
    monkeypatch.setenv(VARIABLE, f"@{file / 'below'}")
    code, out, err = run("add", "alice")
    assert (code, out) == (8, "")
    assert "cannot be written" in err
