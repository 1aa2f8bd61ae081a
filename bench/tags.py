"""What PyAV's metadata, mutagen and tinytag keep of every kind of tag that people's files have, beside our reader.

`python -m bench.tags` from the project's root; tinytag is left out where it is not installed. Each kind of file is
made with as many of `tags.FIELDS`, a comment and a cover as it can hold. Each library's own names are mapped to ours
as kindly as a few lines can; a field counts where its list of values is exactly what was written.
"""

# mypy: allow-untyped-calls, disable-error-code="import-not-found,import-untyped,no-any-return"

from __future__ import annotations

import argparse
import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import av
import mutagen
from mutagen.apev2 import APEv2
from mutagen.flac import FLAC
from mutagen.mp3 import MP3
from tests.audio.tagged_files import KINDS, TRUTH

from outpaint_mcp.audio.tags.reading import read_tags

if TYPE_CHECKING:
    from collections.abc import Callable

Found = tuple[dict[str, list[str]], bytes | None]

_NAMES = {
    "album_artist": "albumartist", "track": "tracknumber", "disc": "discnumber", "year": "date", "tbpm": "bpm",
    "tkey": "key", "tmpo": "bpm", "initialkey": "key", "initial_key": "key", "part_number": "tracknumber",
    "date_recorded": "date", "description": "comment", "wm/year": "date", "wm/initialkey": "key",
    "wm/beatsperminute": "bpm", "wm/partofset": "discnumber", "wm/composer": "composer",
    "tit2": "title", "tpe1": "artist", "talb": "album", "tpe2": "albumartist", "tcom": "composer", "tdrc": "date",
    "tcon": "genre", "trck": "tracknumber", "tpos": "discnumber", "tcop": "copyright", "comm": "comment",
    "\xa9nam": "title", "\xa9art": "artist", "\xa9alb": "album", "aart": "albumartist", "\xa9wrt": "composer",
    "\xa9day": "date", "\xa9gen": "genre", "trkn": "tracknumber", "cprt": "copyright", "\xa9cmt": "comment",
    "----:com.apple.itunes:initialkey": "key", "author": "artist", "wm/albumtitle": "album",
    "wm/albumartist": "albumartist", "wm/genre": "genre", "wm/tracknumber": "tracknumber", "original_year": "date",
    "comments": "comment", "track number": "tracknumber", "tempo": "bpm", "key signature": "key",
    "tcm": "composer", "tpa": "discnumber", "tbp": "bpm", "tke": "key", "tcr": "copyright",
    "album artist": "albumartist", "disk": "discnumber",
}  # fmt: skip


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]).parse_args()
    readers: dict[str, Callable[[Path], Found]] = {"PyAV": _by_av, "mutagen": _by_mutagen}
    if find_spec("tinytag"):
        readers["tinytag"] = _by_tinytag
    readers["ours"] = _by_us
    print("| file |", " | ".join(f"{name} lacks" for name in readers), "|\n|" + "---|" * (1 + len(readers)))
    totals = dict.fromkeys(readers, 0)
    most = 0
    with TemporaryDirectory() as folder:
        for kind, build in KINDS.items():
            written = build(Path(folder, "file"))
            most += len(written)
            cells = []
            for name, read in readers.items():
                lacks = _lacking(read, Path(folder, "file"), written)
                totals[name] += len(written) - len(lacks)
                cells.append(", ".join(lacks) if len(lacks) < len(written) else "all")
            print(f"| {kind} |", " | ".join(cells), "|")
    print("| kept, of", most, "|", " | ".join(map(str, totals.values())), "|")


def _lacking(read: Callable[[Path], Found], path: Path, written: dict[str, list[str]]) -> list[str]:
    try:
        fields, cover = read(path)
    except Exception:  # noqa: BLE001 - what cannot be read keeps nothing
        return list(written)
    kept = {**fields, "cover": [TRUTH["cover"][0]] if cover and cover.hex() == TRUTH["cover"][0] else []}
    for name in ("genre", "artist"):
        if kept.get(name) == ["/".join(TRUTH[name])] and written.get(name) != TRUTH[name]:
            kept[name] = written[name]
    return [name for name, values in written.items() if kept.get(name) != values]


def _named(pairs: list[tuple[str, list[str]]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, values in pairs:
        name = _NAMES.get(key.lower(), key.lower())
        found.setdefault(name, []).extend(value for value in values if value not in found.get(name, []))
    return found


def _by_av(path: Path) -> Found:
    with path.open("rb") as file, av.open(file, "r", metadata_errors="replace") as container:
        cover = None
        pairs = list(container.metadata.items())
        for stream in container.streams:
            pairs += stream.metadata.items() if stream.type == "audio" else ()
            if stream.type == "video" and cover is None:
                cover = next((bytes(packet) for packet in container.demux(stream) if packet.size), None)
    return _named([(key, re.split(";(?! )", text)) for key, text in pairs]), cover


def _by_mutagen(path: Path) -> Found:
    opened: Any = _opened_by_mutagen(path)
    pairs, cover = [], None
    for key, value in (opened.tags if hasattr(opened, "tags") else opened).items():
        values = (
            value
            if isinstance(value, list)
            else getattr(value, "genres", None) or getattr(value, "text", value)
        )
        if key.startswith("APIC"):
            cover = value.data
        elif key == "covr":
            cover = bytes(value[0])
        elif key in {"trkn", "disk"}:
            pairs.append((key, ["/".join(str(number) for number in value[0] if number)]))
        elif key == "metadata_block_picture":
            cover = mutagen.flac.Picture(import_module("base64").b64decode(value[0])).data
        elif key == "WM/Picture":
            cover = value[0].value[-int.from_bytes(value[0].value[1:5], "little") :]
        elif key == "Cover Art (Front)":
            cover = value.value.partition(b"\0")[2]
        else:
            values = (
                values if isinstance(values, list) else list(value) if hasattr(value, "__iter__") else [value]
            )
            texts = [each.decode() if isinstance(each, bytes) else str(each) for each in values]
            pairs.append((key.partition(":")[0] if key.startswith("COMM") else key, texts))
    if getattr(opened, "pictures", None):
        cover = opened.pictures[0].data
    return _named(pairs), cover


def _opened_by_mutagen(path: Path) -> Any:  # noqa: ANN401 - whatever it has for the file
    """Open a file as whoever knows mutagen would: it finds no APEv2 in MP3, nor FLAC behind ID3."""
    with path.open("rb") as file:
        if file.read(3) == b"ID3" and b"fLaC" in file.read(64):
            return FLAC(path)
    opened = mutagen.File(path)
    return APEv2(path) if opened is None or (isinstance(opened, MP3) and opened.tags is None) else opened


def _by_tinytag(path: Path) -> Found:
    tag = import_module("tinytag").TinyTag.get(path, image=True)
    pairs = []
    for key, value in tag.as_dict().items():
        values = value if isinstance(value, list) else [value]
        if key in {"track", "disc"}:
            total = getattr(tag, f"{key}_total")
            values = [f"{values[0]}/{total}" if total else values[0]]
        pairs.append((key, [str(each) for each in values]))
    return _named(pairs), tag.images.any.data if tag.images.any else None


def _by_us(path: Path) -> Found:
    tags = read_tags(path)
    return tags.fields, tags.cover.content if tags.cover else None


if __name__ == "__main__":
    main()
