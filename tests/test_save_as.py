"""Results at a place of the person's choice: by name, in the folders that are open, over no other file."""

# ruff: noqa: ASYNC240 - small files in a folder of the test's own

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from tests.audio.m4a import probe_m4a, read_m4a
from tests.warm import around

from outpaint_mcp.errors import DeliveryFailed, InvalidRequest
from outpaint_mcp.export_options import ExportOptions
from outpaint_mcp.models import SubmitRequest
from outpaint_mcp.principals import PERSON
from outpaint_mcp.server.wording import TOOLS
from outpaint_mcp.service.lifespan import open_service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from outpaint_mcp.config import Settings
    from outpaint_mcp.reports.models import ResultReport
    from outpaint_mcp.service.service import OutpaintService

pytestmark = pytest.mark.anyio

WAIT_SECONDS = 60


@pytest.fixture
def desktop(tmp_path: Path) -> Path:
    folder = tmp_path / "Desktop"
    folder.mkdir()
    return folder


@pytest.fixture
async def service(settings: Settings, desktop: Path) -> AsyncIterator[OutpaintService]:
    """The service, with a folder that results may be saved in."""
    opened = dataclasses.replace(settings, export_dirs=(desktop, desktop.with_name("not there")))
    async with open_service(opened, vocabulary=TOOLS, surroundings=around()) as running:
        yield running


async def submitted(service: OutpaintService, audio: Path, takes: int = 1) -> str:
    request = SubmitRequest.of(audio=str(audio), tags="", extend_after_duration=1, seed=7, takes=takes)
    return (await service.submit(PERSON, request)).request_id


async def saved(
    service: OutpaintService, request_id: str, save_as: str, options: ExportOptions | None = None
) -> ResultReport:
    return await service.result(
        PERSON, request_id, wait_seconds=WAIT_SECONDS, options=options or ExportOptions(), save_as=save_as
    )


@pytest.mark.parametrize(
    ("save_as", "place"),
    [
        ("final mix", "final mix.wav"),
        ("final mix.wav", "final mix.wav"),
        ("mix.v2", "mix.v2.wav"),
        ("client/final.wav", "client/final.wav"),
        ("client/", "client/song, extended 1s after.wav"),
        (" final ", "final.wav"),
    ],
)
async def test_a_name_is_one_in_the_output_folder(
    service: OutpaintService, song: Path, settings: Settings, save_as: str, place: str
) -> None:
    report = await saved(service, await submitted(service, song), save_as)
    assert report.path == str(settings.output_dir / place)
    assert report.written == "WAV, 16 bit, 16000 Hz"
    assert soundfile.info(report.path).duration == 4


async def test_the_suffix_says_the_format_and_the_answer_what_was_written(
    service: OutpaintService, song: Path, desktop: Path
) -> None:
    request_id = await submitted(service, song)
    for name, written in (("a.mp3", "MP3, 160 kbit/s, 16000 Hz"), ("a.flac", "FLAC, 16 bit, 16000 Hz")):
        report = await saved(service, request_id, str(desktop / name))
        assert (report.path, report.written) == (str(desktop / name), written)


async def test_a_bit_rate_is_had_and_told(service: OutpaintService, song: Path) -> None:
    request_id = await submitted(service, song)
    usual = await saved(service, request_id, "", ExportOptions(format="mp3"))
    small = await saved(service, request_id, "", ExportOptions(format="mp3", bitrate_kbps=64))
    assert small.written == "MP3, 64 kbit/s, 16000 Hz"
    assert Path(small.path or "").name == "song, extended 1s after, 64 kbps.mp3"
    assert usual.path != small.path


async def test_wav_is_wav_whatever_the_source_was(service: OutpaintService, song: Path) -> None:
    samples, rate = soundfile.read(song, dtype="int16")
    for subtype, depth in (("PCM_16", 16), ("PCM_24", 24)):
        flac = song.with_name(f"other {depth}.flac")
        soundfile.write(flac, samples, rate, subtype)
        report = await saved(service, await submitted(service, flac), f"x {depth}.wav")
        assert report.written == f"WAV, {depth} bit, {rate} Hz"


@pytest.mark.parametrize(
    ("suffix", "subtype", "written"),
    [
        (".aiff", "PCM_24", "WAV, 24 bit"),
        (".caf", "FLOAT", "WAV, 32-bit float"),
        (".caf", "PCM_16", "WAV, 16 bit"),
    ],
)
async def test_aiff_and_caf_come_back_as_they_were_and_as_wav_where_the_name_says_so(
    service: OutpaintService, song: Path, suffix: str, subtype: str, written: str
) -> None:
    samples, rate = soundfile.read(song)
    source = song.with_name(f"other{suffix}")
    soundfile.write(source, samples, rate, subtype)
    request_id = await submitted(service, source)
    usual = await saved(service, request_id, "")
    named = await saved(service, request_id, f"x{suffix}")
    assert Path(named.path or "").name == f"x{suffix}"
    for each in (usual, named):
        info = soundfile.info(each.path)
        assert (info.format, info.subtype) == (suffix[1:].upper(), subtype)
    wav = await saved(service, request_id, "x.wav")
    assert wav.written == f"{written}, {rate} Hz"
    assert np.array_equal(soundfile.read(wav.path)[0], soundfile.read(usual.path)[0])


async def test_m4a_is_aac_unless_alac_is_asked_for(service: OutpaintService, song: Path) -> None:
    request_id = await submitted(service, song)
    whole = await saved(service, request_id, "")
    lossy = await saved(service, request_id, "x.m4a")
    lossless = await saved(service, request_id, "y.m4a", ExportOptions(format="alac"))
    assert ("AAC is lossy" in lossy.message, "lossy" in lossless.message) == (True, False)
    assert probe_m4a(Path(lossy.path or "")).subtype == "AAC"
    assert probe_m4a(Path(lossless.path or "")).subtype == "ALAC_16"
    samples, _ = soundfile.read(whole.path, dtype="int16", always_2d=True)
    assert np.array_equal(read_m4a(Path(lossless.path or ""), "int16"), samples)
    assert read_m4a(Path(lossy.path or "")).shape == samples.shape


async def test_the_same_place_again_is_the_same_file(
    service: OutpaintService, song: Path, desktop: Path
) -> None:
    request_id = await submitted(service, song)
    delivered = await saved(service, request_id, "")
    first, again = [await saved(service, request_id, str(desktop / "x")) for _ in range(2)]
    assert first == again
    assert Path(first.path or "").read_bytes() == Path(delivered.path or "").read_bytes()
    assert [path.name for path in desktop.iterdir()] == ["x.wav"]


async def test_a_place_that_is_taken_is_not_overwritten(
    service: OutpaintService, song: Path, desktop: Path
) -> None:
    (desktop / "x.wav").write_bytes(b"mine")
    with pytest.raises(DeliveryFailed, match="nothing is overwritten"):
        await saved(service, await submitted(service, song), str(desktop / "x.wav"))
    assert (desktop / "x.wav").read_bytes() == b"mine"


async def test_places_outside_the_open_folders_are_refused_with_those_that_are_open(
    service: OutpaintService, song: Path, settings: Settings, desktop: Path, tmp_path: Path
) -> None:
    request_id = await submitted(service, song)
    (desktop / "out").symlink_to(tmp_path)
    places = ("../x", "/etc/x.wav", str(tmp_path / "x"), str(desktop / "out" / "x"), "~/x.wav")
    for place in (*places, str(desktop.with_name("not there") / "x")):
        with pytest.raises(InvalidRequest, match="outside the folders") as refused:
            await saved(service, request_id, place)
        assert refused.value.field == "save_as"
        assert str(settings.output_dir) in str(refused.value)
        assert str(desktop) in str(refused.value)
    assert not list(tmp_path.glob("x*"))


@pytest.mark.parametrize("name", ["a\0b", "\udcff", "x" * 300])
async def test_names_that_no_file_can_have_are_refused(
    service: OutpaintService, song: Path, name: str
) -> None:
    with pytest.raises((InvalidRequest, DeliveryFailed)):
        await saved(service, await submitted(service, song), name)


@pytest.mark.parametrize(
    ("save_as", "options", "words"),
    [
        ("x.wma", ExportOptions(), "WMA is not an output format. Use .wav, .flac"),
        ("x.aif", ExportOptions(), "only what came as AIFF comes back so, and this is WAV. Use .wav"),
        ("x.caf", ExportOptions(), "only what came as CAF"),
        ("x.m4a", ExportOptions(format="flac"), "ends in .m4a, but the format asked for is flac"),
        ("x.mp3", ExportOptions(format="wav24"), "ends in .mp3, but the format asked for is wav24"),
    ],
)
async def test_a_name_and_a_format_that_do_not_fit_are_refused(
    service: OutpaintService, song: Path, save_as: str, options: ExportOptions, words: str
) -> None:
    with pytest.raises(InvalidRequest, match=words):
        await saved(service, await submitted(service, song), save_as, options)


async def test_several_takes_do_not_go_into_one_file_but_each_does(
    service: OutpaintService, song: Path, desktop: Path
) -> None:
    request_id = await submitted(service, song, takes=2)
    with pytest.raises(InvalidRequest, match=r"ask for one of them by its id: take 1 \(op_"):
        await saved(service, request_id, "x")
    both = await saved(service, request_id, f"{desktop}/")
    assert both.takes is not None
    assert {Path(take.path or "").parent for take in both.takes} == {desktop}
    one = await saved(service, both.takes[0].request_id, "x")
    assert Path(one.path or "").name == "x.wav"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"format": "mp3", "bitrate_kbps": 32}, "64 to 320"),
        ({"format": "opus", "bitrate_kbps": 600}, "16 to 510"),
        ({"format": "flac", "bitrate_kbps": 320}, "flac is lossless"),
        ({"format": "alac", "bitrate_kbps": 320}, "alac is lossless"),
        ({"format": "m4a", "bitrate_kbps": 24}, "64 to 500"),
        ({"bitrate_kbps": 320}, "mp3, m4a, ogg, opus"),
    ],
)
def test_bit_rates_that_a_format_does_not_have_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        ExportOptions(**options)  # type: ignore[arg-type]
