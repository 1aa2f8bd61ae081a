"""Too much at once, on stdio."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.attack.target import Outcome, children_of, memory_mib, write_song

if TYPE_CHECKING:
    from tests.attack.target import Attack, Lines, Target

_SUBMISSIONS = 2_000
_ANSWERED_SECONDS = 120.0


def attack(attack: Attack) -> None:
    """Submit, ask and wait more than anybody needs."""
    with attack.target() as target:
        server = target.start()
        _submissions(attack, target, server)
        _waits(attack, server)


def _submissions(attack: Attack, target: Target, server: Lines) -> None:
    count = attack.count(_SUBMISSIONS)
    title = "submissions at once, up to 2,000: each taken, or told to try again; a ping between is answered"
    with attack.book.row("exhaustion", title) as row:
        for number in range(20):
            write_song(target.music / f"many-{number}.wav", 1.0, hz=200 + number)
        calls = []
        for number in range(count):
            asked = {
                "audio": f"many-{number % 20}.wav",
                "tags": "",
                "extend_after_duration": 1,
                "seed": number,
            }
            calls.append(server.start_tool("submit_outpaint", asked))
        began = time.monotonic()
        row.check(server.is_alive(), "no answer to a ping")
        row.check(
            time.monotonic() - began < _ANSWERED_SECONDS / 2, f"a ping took {time.monotonic() - began:.0f} s"
        )
        for each in calls:
            left = max(0.1, began + _ANSWERED_SECONDS - time.monotonic())
            try:
                outcome = Outcome.of(each.wait(left))
            except TimeoutError:
                row.check(held=False, what=f"not answered within {_ANSWERED_SECONDS:.0f} s")
                continue
            is_busy = outcome.is_error and "again" in outcome.words and not outcome.is_bug
            row.check(not outcome.is_error or is_busy, outcome.words[:200])
        row.at_most(memory_mib(server.process.pid), 300, "MiB", "server")
        row.check(len(children_of(server.process.pid)) <= 8, "more workers than cores")


def _waits(attack: Attack, server: Lines) -> None:
    with attack.book.row(
        "exhaustion", "waits that are cancelled at once, then a call that is answered"
    ) as row:
        listed = server.outcome("list_outpaints", {"limit": 1}).data["requests"]
        request_id = listed[0]["request_id"]
        for _ in range(attack.count(1_000)):
            waiting = server.start_tool("get_outpaint_status", {"request_id": request_id, "wait_seconds": 45})
            server.notify("notifications/cancelled", {"requestId": waiting.call_id})
            row.tried += 1
        row.check(server.is_alive(), "the server answers no longer")
        row.at_most(memory_mib(server.process.pid), 300, "MiB", "server")
