"""The real service from end to end, once, for some cents at most: what it says and what it costs.

`python -m bench.real_service [FILE] [--link URL]` from the project's root, with a token where the server looks for
one. Price, balance and estimate come first; nothing is paid without `--yes`, or a typed one. What the service
answers is printed, links without their paths. Never run by CI; `RUNCOMFY_MODEL_API_BASE` may lead it to the fake.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sqlite3
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import httpx
import soundfile

from outpaint_mcp.cli.demo_music import compose_piece
from outpaint_mcp.config import Settings
from outpaint_mcp.errors import OutpaintError
from outpaint_mcp.models import SubmitRequest
from outpaint_mcp.principals import PERSON
from outpaint_mcp.providers.remote.plan import plan
from outpaint_mcp.providers.runcomfy.api.client import MODEL_ID, RunComfyClient
from outpaint_mcp.providers.runcomfy.model import LIMITS
from outpaint_mcp.server.wording import TOOLS
from outpaint_mcp.service.lifespan import open_service
from outpaint_mcp.storage.store import FILE_NAME

_TAGS = "drums, bass, electric piano, 104 bpm"
_PATHS = "/requests/{}/status", "/requests/{}/result?include_cost=true"
_LOOK_SECONDS, _MOST_CHARACTERS = 2.0, 160


def main() -> int:
    """Run; exits with 2 without a token or a yes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", nargs="?", type=Path, help="to extend, instead of a composed piece of 14 s")
    parser.add_argument("--link", help="public https link to that very file, where it is not to be sent")
    parser.add_argument("--after", type=float, default=4.0, help="seconds of music after (%(default)s)")
    parser.add_argument("--yes", action="store_true", help="pay")
    chosen = parser.parse_args()
    try:
        settings = replace(Settings.from_env(os.environ), provider="runcomfy")
        if settings.token is None:
            print("There is no token: put RunComfy's into RUNCOMFY_API_TOKEN.", file=sys.stderr)
            return 2
        with TemporaryDirectory() as folder:
            compose_piece(piece := Path(folder, "piece.wav"))
            return asyncio.run(_run(settings, (chosen.file or piece).resolve(), chosen))
    except OutpaintError as exc:
        print(f"{type(exc).__name__}: {exc}", file=sys.stderr)
        return 1


async def _run(settings: Settings, file: Path, chosen: argparse.Namespace) -> int:
    estimate = await _estimate(settings, soundfile.info(file).duration, chosen.after)
    if not chosen.yes and (not sys.stdin.isatty() or await asyncio.to_thread(input, "Pay? yes/no ") != "yes"):
        print("Nothing was sent; give --yes to pay.", file=sys.stderr)
        return 2
    inputs = {"tags": _TAGS, "lyrics": "[inst]", "extend_after_duration": chosen.after}
    request = SubmitRequest.of(audio=chosen.link or str(file), **inputs)
    settings = replace(settings, input_dirs=(file.parent,), max_cost_usd=1.01 * estimate)
    async with open_service(settings, vocabulary=TOOLS) as service:
        submission = await service.submit(PERSON, request)
        print(f"{submission.request_id}: {submission.message}")
        told, is_over = set[str](), False
        while not is_over:
            report = await service.status(PERSON, submission.request_id, wait_seconds=_LOOK_SECONDS)
            is_over, said = report.status.is_final, [f"{report.status}: {report.error or report.message}"]
            for remote_id in await asyncio.to_thread(_remote_ids, settings.data_dir, submission.request_id):
                said += [f"  {await _said(settings, remote_id, path)}" for path in _PATHS]
            print("".join(f"{each}\n" for each in said if each not in told), end="")
            told.update(said)
        result = await service.result(PERSON, submission.request_id)
    print(_shape(result.model_dump(mode="json")), f"Cost: ${result.cost_usd} of ${estimate:.4f}", sep="\n")
    return 0 if result.path else 1


def _remote_ids(data_dir: Path, request_id: str) -> list[str]:
    with closing(sqlite3.connect(f"file:{data_dir / FILE_NAME}?mode=ro", uri=True)) as connection:
        query = "SELECT remote_id FROM steps WHERE request_id = ? AND remote_id IS NOT NULL ORDER BY number"
        return [remote_id for (remote_id,) in connection.execute(query, (request_id,))]


async def _estimate(settings: Settings, source_seconds: float, after_seconds: float) -> float:
    async with RunComfyClient(settings.token, base_url=settings.runcomfy_base) as client:
        price, balance = await client.price(), await client.balance_usd()
    print(f"Catalogue: {await _said(settings, MODEL_ID, '/models/{}')}")
    print(f"Price: ${price.usd:g} per {price.unit} ({price.origin}). Balance: ${balance}.")
    steps = plan(LIMITS, source_seconds, before_seconds=0, after_seconds=after_seconds)
    estimate = price.at_most_usd(sum(each.context_seconds + each.seconds for each in steps), len(steps))
    print(f"Estimate: at most ${estimate:.4f}, in {len(steps)} step(s).")
    return estimate


async def _said(settings: Settings, name: str, path: str) -> Any:  # noqa: ANN401 - whatever it answers
    headers, url = {"Authorization": f"Bearer {settings.token}"}, settings.runcomfy_base + path.format(name)
    try:
        return _shape((await asyncio.to_thread(httpx.get, url, headers=headers)).json())
    except (httpx.HTTPError, ValueError) as exc:
        return type(exc).__name__


def _shape(answer: Any) -> Any:  # noqa: ANN401 - JSON
    match answer:
        case {"properties": dict(properties)}:
            return sorted(properties)
        case dict():
            return {key: _shape(value) for key, value in answer.items()}
        case list():
            return [_shape(each) for each in answer]
        case str() if "://" in answer:  # it may be signed
            return f"{urlsplit(answer).hostname}/…{Path(urlsplit(answer).path).suffix}"
        case str() if len(answer) > _MOST_CHARACTERS:
            return f"{answer[:_MOST_CHARACTERS]}…"
    return answer


if __name__ == "__main__":
    sys.exit(main())
