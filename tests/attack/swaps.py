"""Files that are exchanged between the look and the use."""

from __future__ import annotations

import os
import shutil
import threading
import time
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from tests.attack.doors import is_outside
from tests.attack.target import OUTSIDE_SECONDS, Target, write_song

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.attack.target import Attack, Lines

_REPLACEMENTS = ("link", "pipe", "folder", "other", "edited", "gone")
_SHARED_MEMORY = Path("/dev/shm")
_FIFO_PATIENCE_SECONDS = 20.0


def attack(attack: Attack) -> None:
    """Swap sources, plant files where one is written, and replace what was delivered."""
    with attack.target() as target:
        server = target.start()
        _swap_links(attack, target, server)
        _swap_pipes(attack, target, server)
    with attack.target() as target:
        _replace_delivered(attack, target, target.start())
    with attack.target() as target:
        _plant_parts(attack, target)


@contextmanager
def swapping(*states: Callable[[], None]) -> Iterator[None]:
    """Bring about one state after the other, all the time while the block lasts."""
    is_over = threading.Event()

    def swap() -> None:
        while not is_over.is_set():
            for each in states:
                with suppress(OSError):
                    each()
                is_over.wait(0.003)

    thread = threading.Thread(target=swap, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _swap_links(attack: Attack, target: Target, server: Lines) -> None:
    with attack.book.row("swaps", "a source swapped for a link to outside and back, all the time") as row:
        for number in range(attack.count(24)):
            name = f"swapped-{number}.wav"
            path = write_song(target.music / name, 2.0, hz=200 + number)
            kept, spare = target.folder / "kept.wav", target.folder / "spare.wav"
            path.rename(kept)

            def real(path: Path = path, kept: Path = kept, spare: Path = spare) -> None:
                shutil.copy(kept, spare)
                spare.replace(path)

            def link(path: Path = path, spare: Path = spare) -> None:
                spare.unlink(missing_ok=True)
                spare.symlink_to(target.secret)
                spare.replace(path)

            real()
            with swapping(real, link):
                if number % 2:
                    outcome = server.outcome("analyze_audio", {"audio": str(path)})
                    read = outcome.data.get("duration_seconds")
                else:
                    asked = {"audio": str(path), "tags": "", "extend_after_duration": 1}
                    outcome = server.outcome("submit_outpaint", asked)
                    read = (outcome.data.get("expected_duration_seconds") or 1) - 1
                    if not outcome.is_error:
                        asked = {"request_id": outcome.data["request_id"], "wait_seconds": 45}
                        outcome = server.outcome("get_outpaint_result", asked, seconds=60)
                        read = (outcome.data.get("duration_seconds") or 1) - 1
            row.check(not is_outside(read), f"{name}: {OUTSIDE_SECONDS} s were read: {outcome.words[:200]}")
            path.unlink(missing_ok=True)
        row.check(server.serves(target.song), "a good recording is not analyzed any more")


def _swap_pipes(attack: Attack, target: Target, server: Lines) -> None:
    with attack.book.row(
        "swaps", "a source swapped for a pipe and back; a good file beside it is served"
    ) as row:
        for number in range(attack.count(8)):
            path, spare = target.music / f"pipe-{number}.wav", target.folder / "spare.wav"
            good = write_song(target.music / f"good-{number}.wav", 1.0, hz=300 + number)

            def real(path: Path = path, spare: Path = spare, good: Path = good) -> None:
                shutil.copy(good, spare)
                spare.replace(path)

            def pipe(path: Path = path, spare: Path = spare) -> None:
                spare.unlink(missing_ok=True)
                os.mkfifo(spare)
                spare.replace(path)

            real()
            began = time.monotonic()
            with swapping(real, pipe):
                asked = [server.start_tool("analyze_audio", {"audio": str(path)}) for _ in range(3)]
                served = server.outcome("analyze_audio", {"audio": str(good)}, seconds=240)
            took = time.monotonic() - began
            row.check(
                not served.is_error and took < _FIFO_PATIENCE_SECONDS, f"{took:.0f} s: {served.words[:200]}"
            )
            pipe()
            for each in asked:
                each.wait(240)
            path.unlink(missing_ok=True)


def _deliver(server: Lines, name: str = "song.wav") -> tuple[str, Path]:
    submission = server.outcome("submit_outpaint", {"audio": name, "tags": "", "extend_after_duration": 1})
    result = server.outcome(
        "get_outpaint_result", {"request_id": submission.data["request_id"], "wait_seconds": 45}
    )
    return submission.data["request_id"], Path(result.data["path"])


def _replace_delivered(attack: Attack, target: Target, server: Lines) -> None:
    with attack.book.row(
        "swaps", "a delivered file replaced by a link, a pipe, a folder, another file, or edited"
    ) as row:
        for number, how in enumerate(attack.some(_REPLACEMENTS)):
            write_song(target.music / f"mine-{number}.wav", 2.0, hz=250 + number)
            request_id, path = _deliver(server, f"mine-{number}.wav")
            digest = sha256(path.read_bytes()).hexdigest()
            _replace(how, path, target)
            outcome = server.outcome("analyze_audio", {"audio": request_id}, seconds=60)
            row.check(not is_outside(outcome.data.get("duration_seconds")), f"{how}: read as a source")
            copy = target.folder / f"copy-{number}.wav"
            target.command("get", request_id, "--output", str(copy))
            copied = sha256(copy.read_bytes()).hexdigest() if copy.exists() else digest
            row.check(copied == digest, f"{how}: exported as what was delivered")
            outcome = server.outcome(
                "get_outpaint_result", {"request_id": request_id, "format": "flac", "wait_seconds": 45}
            )
            other = outcome.data.get("path")
            row.check(other is None or not is_outside(_seconds(Path(other))), f"{how}: delivered as FLAC")
        row.check(server.is_alive(), "the server answers no longer")


def _seconds(path: Path) -> float:
    import soundfile  # noqa: PLC0415 - only here

    return float(soundfile.info(path).duration)


def _replace(how: str, path: Path, target: Target) -> None:
    if how == "edited":
        with path.open("r+b") as file:
            file.seek(20_000)
            file.write(b"\x7f\x00" * 10_000)
        return
    path.unlink()
    match how:
        case "link":
            path.symlink_to(target.secret)
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "other":
            shutil.copy(target.secret, path)


def _plant_parts(attack: Attack, target: Target) -> None:
    """Plant links under the names of unfinished files, on another disk than the data folder's where there is one."""
    with (
        attack.book.row("swaps", "links and pipes planted where a file is written, before and while") as row,
        TemporaryDirectory(dir=_SHARED_MEMORY if _SHARED_MEMORY.is_dir() else None) as other,
    ):
        longer = Path(other, "Longer")
        longer.mkdir()
        server = target.start(OUTPAINT_OUTPUT_DIR=str(longer))
        victim = target.outside / "victim.txt"
        for number in range(attack.count(6)):
            victim.write_bytes(b"mine")
            write_song(target.music / f"part-{number}.wav", 1.0, hz=400 + number)
            asked = {"audio": f"part-{number}.wav", "tags": "", "extend_after_duration": 1}
            request_id = server.outcome("submit_outpaint", asked).data["request_id"]
            server.outcome("get_outpaint_status", {"request_id": request_id, "wait_seconds": 45})
            for name in (f".{request_id}.part", f"{request_id}.part", f".{request_id}.wav.part"):
                (longer / name).symlink_to(victim)
            with swapping(lambda victim=victim: _hijack(longer, victim)):  # type: ignore[misc]
                server.outcome("get_outpaint_result", {"request_id": request_id, "wait_seconds": 10})
            row.check(
                victim.read_bytes() == b"mine", f"{request_id}: a file outside was written through a link"
            )
        row.check(server.is_alive(), "the server answers no longer")
        server.kill()


def _hijack(folder: Path, victim: Path) -> None:
    for each in folder.iterdir():
        if each.name.startswith(".") and not each.is_symlink():
            each.unlink()
            each.symlink_to(victim)
