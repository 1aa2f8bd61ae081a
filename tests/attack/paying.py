"""Money: a service that bills what it likes, servers that sleep, and disks and journals that go away."""

from __future__ import annotations

import math
import os
import resource
import shutil
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any, TypeVar, cast

from tests.attack.doors import listening
from tests.attack.lying import LyingRunComfy
from tests.attack.target import Outcome, Target, memory_mib, wait_until, write_song
from tests.fakes.runcomfy import TOKEN, Fault, Switches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from tests.attack.book import Row
    from tests.attack.target import Attack, Lines
    from tests.e2e.rpc import Json
    from tests.fakes.switches import Endpoint, Event

_T = TypeVar("_T")

LIMIT_USD = 0.05
_AT_ONCE = 4
_OVER = ("completed", "failed", "cancelled", "unknown")
_ASKED: Json = {"audio": "song.wav", "tags": "a tired waltz", "seed": 7, "extend_after_duration": 2}
_LOOK_SECONDS = 4.0
_PRICES = (None, math.nan, math.inf, -1.0, "free", 1e308, 1.0)
_LOCKS = ("gone", "replaced", "folder gone")
_LOSSES = ("folder deleted", "file deleted", "folder moved", "file replaced", "file emptied")
_MOMENTS: tuple[Event, ...] = ("model", "submit_read", "submit_accepted", "status", "result", "download")
_BILLS: tuple[object, ...] = (math.nan, math.inf, -math.inf, -1.0, 1e308, "5", None, [], True)
_PLAGUES = ("gzip", "endless", "large", "deep", "slow")
_REDIRECTS = (301, 302, 303, 307, 308)
_ENDPOINTS: tuple[Endpoint, ...] = ("model", "submit", "status", "result")
_EVIL_URLS = (
    "http://127.0.0.1:{port}/a.wav",
    "https://127.0.0.1:{port}/a.wav",
    "https://localhost:{port}/a.wav",
    "http://[::1]:{port}/a.wav",
    "https://[::ffff:127.0.0.1]:{port}/a.wav",
    "https://2130706433:{port}/a.wav",
    "https://0x7f.1:{port}/a.wav",
    "https://127.1:{port}/a.wav",
    "http://169.254.169.254/latest/meta-data/a.wav",
    "https://evil.example/a.wav",
    "https://user:pass@127.0.0.1:{port}/a.wav",
    "file:///etc/passwd",
    "ftp://127.0.0.1:{port}/a.wav",
    "{base}@127.0.0.1:{port}/a.wav",
    "//127.0.0.1:{port}/a.wav",
    "data:audio/wav;base64,UklGRg==",
    "https://runcomfy.net.evil.example/a.wav",
    "gopher://127.0.0.1:{port}/a.wav",
    "https://127.0.0.1:{port}\r\nX: y/a.wav",
)


class House(Target):
    """Folders, and a service that lies when it is asked to."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.fake = self._stack.enter_context(
            LyingRunComfy(switches=Switches(queue_polls=0, running_polls=0))
        )

    def environment(self, **more: str) -> dict[str, str]:
        """See `Target`; with a token, and a limit."""
        hosted = {
            "OUTPAINT_PROVIDER": "runcomfy",
            "RUNCOMFY_API_TOKEN": TOKEN,
            "RUNCOMFY_MODEL_API_BASE": self.fake.base,
            "OUTPAINT_MAX_COST_USD": str(LIMIT_USD),
        }
        return super().environment(**hosted | more)

    @property
    def posts(self) -> int:
        """How often money was spent."""
        return self.fake.count("submit")

    def once(self, event: Any, act: Callable[[], object]) -> None:  # noqa: ANN401 - an `Event`
        """Act the first time that something happens at the service, before it answers."""
        left = [act]

        def strike(_: str) -> None:
            if left:
                left.pop()()

        self.fake.on(event, strike)


@contextmanager
def house(attack: Attack) -> Iterator[House]:
    """Give fresh folders and a fresh service."""
    with House(attack.folder / f"house-{attack.rng.getrandbits(48):012x}") as opened:
        yield opened


def side_by_side(one: Callable[[_T], None], every: Iterable[_T]) -> None:
    """Do them a few at a time, each in a house of its own: most of what they take is waiting."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for done in [pool.submit(one, each) for each in every]:
            done.result()


def submit(server: Lines, **more: object) -> Outcome:
    """Ask for a paid extension."""
    return server.outcome("submit_outpaint", _ASKED | more, seconds=120)


def settled(server: Lines, request_id: str, *, seconds: float = 30.0) -> Json:
    """Return a request's status when it has ended, or after a while."""
    last: Json = {}

    def look() -> bool:
        nonlocal last
        last = server.outcome("get_outpaint_status", {"request_id": request_id, "wait_seconds": 2}).data
        return last.get("status") in _OVER

    wait_until(look, seconds=seconds)
    return last


def attack(attack: Attack) -> None:
    """Try to have more spent than was agreed, twice, or in secret."""
    _control(attack)
    _over_the_limit(attack)
    _twice(attack)
    _killed(attack)
    _journal_gone(attack)
    _full_disk(attack)
    _odd_bills(attack)


def _control(attack: Attack) -> None:
    with (
        attack.book.row("money", "no attack: what is within the limit is sent once, and delivered") as row,
        house(attack) as target,
    ):
        server = target.start()
        request_id = submit(server).data["request_id"]
        result = server.outcome("get_outpaint_result", {"request_id": request_id, "wait_seconds": 45})
        row.check("path" in result.data, f"not delivered: {result.words[:300]}")
        row.check(target.posts == 1, f"{target.posts} POSTs")


def _over_the_limit(attack: Attack) -> None:
    title = f"the limit of ${LIMIT_USD}: steps billed at $5, a price that rises or is gone, takes, and racing requests"
    with attack.book.row("money", title) as row:
        with house(attack) as target:
            target.fake.on(
                "status", lambda request_id: setattr(target.fake.jobs[request_id], "cost_usd", 5.0)
            )
            server = target.start()
            outcome = submit(server, extend_before_duration=10, extend_after_duration=10)
            if not outcome.is_error:
                settled(server, outcome.data["request_id"], seconds=12)
            row.check(target.posts <= 1, f"{target.posts} steps of $5 were sent")

        def one(price: object) -> None:
            with house(attack) as target:
                target.fake.switches = Switches(
                    price_usd=cast("float", price), queue_polls=0, running_polls=0
                )
                server = target.start()
                outcome = submit(server, extend_after_duration=10)
                wait_until(lambda: target.posts, seconds=2)
                row.check(not target.posts, f"price {price}: {target.posts} sent: {outcome.words[:200]}")

        side_by_side(one, attack.some(_PRICES))
        with house(attack) as target:
            server = target.start()
            outcome = submit(server, extend_after_duration=200, takes=4)
            wait_until(lambda: target.posts, seconds=2)
            row.check(
                not target.posts,
                f"takes beyond the limit together: {target.posts} sent: {outcome.words[:200]}",
            )


def _twice(attack: Attack) -> None:
    title = "one request sent twice: two servers, one asleep before its POST, its lock file gone, replaced or copied"
    with attack.book.row("money", title) as row:

        def asleep(how: str) -> None:
            with house(attack) as target:
                _sleeper(target, how, row)

        def raced(number: int) -> None:
            with house(attack) as target:
                servers = [target.start(), target.start()]
                calls = [each.start_tool("submit_outpaint", _ASKED) for each in servers * 8]
                ids = {Outcome.of(each.wait(120)).data.get("request_id") for each in calls}
                settled(servers[0], str(min(map(str, ids))))
                row.check(target.posts == 1, f"race {number}: {target.posts} POSTs for {ids}")

        side_by_side(asleep, attack.some(_LOCKS))
        side_by_side(raced, range(attack.count(8)))


def _killed(attack: Attack) -> None:
    title = "kill -9 before, in and after the POST, then three servers that go on"
    with attack.book.row("money", title) as row:

        def one(number: int) -> None:
            event = ("model", "submit_read", "submit_accepted", "status")[number % 4]
            with house(attack) as target:
                doomed = target.start()
                target.once(event, doomed.process.kill)
                doomed.start_tool("submit_outpaint", _ASKED)
                doomed.process.wait(60)
                for _ in range(3):
                    heir = target.start()
                    for each in heir.outcome("list_outpaints").data.get("requests", []):
                        settled(heir, each["request_id"])
                    heir.kill()
                row.check(target.posts <= 1, f"killed at {event}: {target.posts} POSTs")

        side_by_side(one, range(attack.count(12)))


def _sleeper(target: House, how: str, row: Row) -> None:
    first, second = target.start(), target.start()
    asleep: list[Lines] = []

    def sleep() -> None:
        owner = first
        owner.process.send_signal(signal.SIGSTOP)
        asleep.append(owner)

    second_is_idle = second.outcome("list_outpaints")
    target.once("model", sleep)
    first.start_tool("submit_outpaint", _ASKED)
    if not wait_until(lambda: asleep, seconds=20):
        row.check(held=False, what=f"{how}: nobody asked for the price: {second_is_idle.words[:100]}")
        return
    (locks := target.data / "servers").mkdir(exist_ok=True)
    for lock in locks.glob(f"{first.process.pid}-*.lock"):
        content = lock.read_bytes()
        lock.unlink()
        if how == "replaced":
            lock.write_bytes(content)
    if how == "folder gone":
        shutil.rmtree(locks)
    wait_until(lambda: target.posts, seconds=_LOOK_SECONDS)
    first.process.send_signal(signal.SIGCONT)
    third = target.start()
    for each in third.outcome("list_outpaints").data.get("requests", []):
        settled(third, each["request_id"])
    wait_until(lambda: target.posts > 1, seconds=_LOOK_SECONDS / 2)
    row.check(target.posts <= 1, f"lock {how}: {target.posts} POSTs")


def _journal_gone(attack: Attack) -> None:
    title = "the data folder, or the database in it, deleted, moved or replaced while the server runs: nothing is sent"
    with attack.book.row("money", title) as row:

        def one(how: str) -> None:
            with house(attack) as target:
                server = target.start()
                server.outcome("list_outpaints")
                _lose(how, target)
                outcome = submit(server)
                wait_until(lambda: target.posts, seconds=_LOOK_SECONDS)
                known = True
                if target.posts:
                    server.kill()
                    listed = target.start().outcome("list_outpaints").data.get("requests", [])
                    known = any(each["request_id"] == outcome.data.get("request_id") for each in listed)
                row.check(known, f"{how}: {target.posts} sent and forgotten: {outcome.words[:200]}")
                row.check(not outcome.is_bug, f"{how}: {outcome.words[:200]}")

        side_by_side(one, attack.some(_LOSSES))


def _lose(how: str, target: Target) -> None:
    files = list(target.data.glob("outpaint.sqlite3*"))
    match how:
        case "folder deleted":
            shutil.rmtree(target.data)
        case "folder moved":
            target.data.rename(target.folder / "moved")
        case "file emptied":
            for each in files:
                os.truncate(each, 0)
        case _:
            for each in files:
                content = each.read_bytes()
                each.unlink()
                if how == "file replaced":
                    each.write_bytes(content)


def _full_disk(attack: Attack) -> None:
    title = (
        "no byte more on the disk before the POST, in it, at the answer, the status, the result and the file"
    )
    with attack.book.row("money", title) as row:

        def one(event: Event) -> None:
            with house(attack) as target:
                server = target.start()
                target.once(event, partial(_allow_bytes, server.process.pid, 0))
                outcome = submit(server)
                threading.Event().wait(1)
                posts = target.posts
                _allow_bytes(server.process.pid, resource.RLIM_INFINITY)
                request_id = outcome.data.get("request_id")
                row.check(
                    request_id or not posts, f"full at {event}: paid, without an id: {outcome.words[:200]}"
                )
                with suppress(TimeoutError):
                    for each in server.outcome("list_outpaints").data.get("requests", []):
                        settled(server, each["request_id"], seconds=8)
                row.check(target.posts <= 1, f"full at {event}: {target.posts} POSTs")
                row.check(server.is_alive(), f"full at {event}: the server answers no longer")

        side_by_side(one, attack.some(_MOMENTS))


def _allow_bytes(pid: int, most: int) -> None:
    """Let no file of a process grow beyond this: what a full disk does, and a program can do to itself."""
    with suppress(OSError):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))


def _odd_bills(attack: Attack) -> None:
    with attack.book.row(
        "money", "bills that cannot be believed: the sum stays a number, and the limit holds"
    ) as row:

        def one(bill: object) -> None:
            with house(attack) as target:
                target.fake.on("status", partial(_bill, target, bill))
                server = target.start()
                outcome = submit(server)
                settled(server, str(outcome.data.get("request_id")))
                listed = server.outcome("list_outpaints")
                spent = listed.data.get("spent_usd", 0.0)
                row.check(
                    isinstance(spent, int | float) and 0 <= spent < 1e6, f"billed {bill}: spent {spent}"
                )
                words = target.command("list").stdout
                row.check("inf" not in words and "nan" not in words, f"billed {bill}: {words[-200:]}")

        side_by_side(one, attack.some(_BILLS))


def _bill(target: House, bill: object, request_id: str) -> None:
    target.fake.jobs[request_id].cost_usd = cast("float", bill)


def attack_service(attack: Attack) -> None:
    """Answer as no service should."""
    _hostile_answers(attack)
    _evil_urls(attack)
    _redirects(attack)


def _hostile_answers(attack: Attack) -> None:
    title = "answers that are gzip bombs, endless, 300 MB, deep or slow: price, POST, status and result"
    with attack.book.row("service", title) as row:
        most = [0.0]

        def one(met: tuple[Endpoint, str]) -> None:
            endpoint, plague = met
            with house(attack) as target:
                target.fake.plagues[endpoint] = plague
                server = target.start()
                call = server.start_tool("submit_outpaint", _ASKED)
                is_met = wait_until(lambda: target.fake.count(endpoint), seconds=20)
                row.check(is_met, f"{plague} at {endpoint}: never met")
                threading.Event().wait(1.5)
                row.check(server.is_alive(), f"{plague} at {endpoint}: the server answers no longer")
                row.check(target.posts <= 1, f"{plague} at {endpoint}: {target.posts} POSTs")
                most.append(memory_mib(server.process.pid))
                del call

        side_by_side(one, attack.some(list(product(_ENDPOINTS, _PLAGUES))))
        row.at_most(max(most), 250, "MiB", "server")


def _evil_urls(attack: Attack) -> None:
    with (
        attack.book.row("service", "output URLs that lead elsewhere: none is fetched") as row,
        listening() as (port, came),
        house(attack) as target,
    ):
        server = target.start()
        for number, form in enumerate(attack.some(_EVIL_URLS)):
            url = form.format(port=port, base=target.fake.base)
            body = {"status": "succeeded", "output": {"audios": [url]}, "cost": 0.001}
            target.fake.fail("result", *[Fault(body=cast("Any", body))] * 2)
            write_song(target.music / f"evil-{number}.wav", 1.0, hz=200 + 10 * number)
            outcome = submit(server, audio=f"evil-{number}.wav")
            status = settled(server, str(outcome.data.get("request_id")), seconds=3)
            row.check(status.get("status") != "completed" or not came, f"{url}: {status}")
            server.outcome("cancel_outpaint", {"request_id": str(outcome.data.get("request_id"))})
        row.check(not came, f"connections: {came[:5]}")


def _redirects(attack: Attack) -> None:
    with attack.book.row("service", "redirects of calls that carry the token: none is followed") as row:

        def one(met: tuple[int, Endpoint]) -> None:
            code, endpoint = met
            with listening() as (port, came), house(attack) as target:
                target.fake.plagues[endpoint] = f"{code} http://127.0.0.1:{port}/v1"
                server = target.start()
                submit(server)
                is_met = wait_until(lambda: target.fake.count(endpoint), seconds=20)
                row.check(is_met, f"{code} at {endpoint}: never met")
                wait_until(lambda: came, seconds=0.5)
                row.check(not came, f"{code} at {endpoint} was followed")
                row.check(target.posts <= 1, f"{code} at {endpoint}: {target.posts} POSTs")

        side_by_side(one, attack.some(list(product(_REDIRECTS, _ENDPOINTS[1:3]))))
