"""Whose a job is: its own token's and limit's, the service's to end, and its file the person's."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

import pytest
from tests.fakes.runcomfy import TOKEN, Fault
from tests.hosting import House, open_house, quick_schedule
from tests.waiting import until

from outpaint_mcp.cli.main import main
from outpaint_mcp.errors import Unauthorized
from outpaint_mcp.models import CancelOutcome, Status
from outpaint_mcp.principals import PERSON

if TYPE_CHECKING:
    from tests.fakes.runcomfy import FakeRunComfy
    from tests.waiting import Clock

    from outpaint_mcp.config import Settings

pytestmark = pytest.mark.anyio

OTHER_TOKEN = "rc-another-account-8d1f"
HTML = "<html><h1>Not Found</h1></html>"
FORGOTTEN = "RunComfy does not know the request any more"


async def looked_again(fake: FakeRunComfy) -> None:
    """Return when a look has begun and ended from here on."""
    seen = fake.count("status")
    await until(lambda: fake.count("status") >= seen + 3)


async def test_a_server_without_a_token_leaves_jobs_to_those_that_have_one(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    fake.hold()
    async with open_house(fake, settings) as house:
        accepted = await house.submit(song)
    async with open_house(fake, settings, runs=False) as house:
        unsent = await house.submit(song, seed=8)
    calls = len(fake.calls)
    async with open_house(fake, settings, token=None, provider="local") as bare:
        assert (await bare.extend(song)).provider == "local"  # it is at work, and for long enough
        for submission in (accepted, unsent):
            assert (await bare.service.status(PERSON, submission.request_id)).status is Status.IN_QUEUE
        assert (len(fake.calls), len(fake.jobs)) == (calls, 1)
        fake.release()
        async with open_house(fake, settings) as house:  # beside it
            for submission in (accepted, unsent):
                assert (await house.result(submission.request_id)).status is Status.COMPLETED
    assert fake.count("submit") == 2


async def test_without_a_token_nothing_is_taken_in_and_what_to_do_is_said(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    async with open_house(fake, settings, token=None, accept_seconds=0) as house:
        with pytest.raises(Unauthorized, match=r"none is set\. Put it into RUNCOMFY_API_TOKEN"):
            await house.submit(song)
        listed = await house.service.list(PERSON)
    assert listed.requests == []
    assert (listed.spent_usd, listed.open_estimate_usd) == (0, 0)
    async with open_house(fake, settings) as house:
        await house.extend(song)  # nor does it stand in the way
    assert fake.count("submit") == 1


async def test_a_server_with_another_token_does_not_take_its_ignorance_for_the_end(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    fake.hold()
    async with open_house(fake, settings) as house:
        request_id = (await house.submit(song)).request_id
    fake.expire(house.jobs()[0].request_id)
    fake._token = OTHER_TOKEN
    async with open_house(fake, settings, token=OTHER_TOKEN) as house:
        await house.status_once(request_id, lambda seen: "It was sent with another token" in seen.message)
        await looked_again(fake)
        assert (await house.service.status(PERSON, request_id)).status is Status.IN_QUEUE
    fake._token = TOKEN
    async with open_house(fake, settings) as house:
        result = await house.result(request_id)
    assert result.status is Status.FAILED
    assert (result.error or "").startswith(FORGOTTEN)
    assert fake.count("submit") == 1


@pytest.mark.parametrize(
    ("taken_in_at", "carried_out_at"), [(0.0001, None), (None, 0.0001), (0.0001, 100), (100, 0.0001)]
)
async def test_the_limit_is_the_lower_one_of_the_server_that_took_the_request_in_and_of_that_which_sends_it(
    fake: FakeRunComfy,
    settings: Settings,
    song: Path,
    taken_in_at: float | None,
    carried_out_at: float | None,
) -> None:
    async with open_house(fake, settings, max_cost_usd=taken_in_at, runs=False) as house:
        request_id = (await house.submit(song)).request_id
    async with open_house(fake, settings, max_cost_usd=carried_out_at) as house:
        result = await house.result(request_id)
        record = house.record(request_id)
    assert record.error_kind == "OverBudget"
    assert "over the limit of $0.0001" in (result.error or "")
    assert (result.status, result.cost_usd, fake.count("submit")) == (Status.FAILED, 0, 0)


async def test_a_limit_that_was_lowered_holds_for_every_take(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    async with open_house(fake, settings, max_cost_usd=100, runs=False) as house:
        request_id = (await house.submit(song, takes=3)).request_id
    async with open_house(fake, settings, max_cost_usd=0.001) as house:  # enough for one of them
        result = await house.result(request_id)
    assert (result.status, result.cost_usd, fake.count("submit")) == (Status.FAILED, 0, 0)


async def test_a_gateways_page_is_no_word_of_the_services_however_often_it_comes(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    at_once = dataclasses.replace(quick_schedule(), unheard_of_seconds=0.0)
    async with open_house(fake, settings, schedule=at_once) as house:
        house.give_up_soon()
        fake.fail("status", *[Fault(status=404, body=HTML)] * 60)
        fake.fail("result", *[Fault(status=410, body=HTML)] * 20)
        await house.extend(song)
    assert (fake.count("submit"), fake.count("result")) == (1, 21)
    assert fake.count("status") > 60


async def test_the_services_own_word_counts_once_it_has_stood_for_a_minute(
    fake: FakeRunComfy, settings: Settings, song: Path, clock: Clock
) -> None:
    fake.hold()
    schedule = dataclasses.replace(quick_schedule(), unheard_of_seconds=60.0, clock=clock)
    async with open_house(fake, settings, schedule=schedule) as house:
        request_id = (await house.submit(song)).request_id
        [job] = house.jobs()
        for is_expired in (True, False, True):  # known in between, so that it begins anew
            job.is_expired = is_expired
            await looked_again(fake)
            clock.now += 59
            await looked_again(fake)
            assert (await house.service.status(PERSON, request_id)).status is Status.IN_QUEUE
        clock.now += 2
        assert (await house.result(request_id)).error == (
            f"{FORGOTTEN} ({job.request_id}): it has expired, or was deleted there."
        )


async def test_what_is_made_already_cannot_be_cancelled_while_it_is_fetched(house: House, song: Path) -> None:
    was_told = Event()

    def take_time(_: str) -> None:
        was_told.wait(30)

    house.fake.on("download", take_time)
    request_id = (await house.submit(song)).request_id
    await until(lambda: house.fake.count("download") == 1)
    cancellation = await house.service.cancel(PERSON, request_id)
    was_told.set()
    assert (cancellation.outcome, cancellation.status) == (CancelOutcome.NOT_CANCELLABLE, Status.IN_PROGRESS)
    result = await house.result(request_id)
    assert result.status is Status.COMPLETED
    assert result.path
    assert (house.fake.count("download"), house.fake.count("cancel")) == (1, 0)


async def test_a_wish_that_nobody_has_heard_yet_is_not_called_cancelled(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    fake.hold()
    async with open_house(fake, settings) as house:
        request_id = (await house.submit(song)).request_id
    async with open_house(fake, settings, runs=False, cancel_seconds=0.3) as house:
        assert house.store.queue.claim("a sleeping server", "runcomfy")
        cancellation = await house.service.cancel(PERSON, request_id)
        assert cancellation.outcome is CancelOutcome.NOT_CANCELLABLE
        assert (
            cancellation.status is (await house.service.status(PERSON, request_id)).status is Status.IN_QUEUE
        )
    async with open_house(fake, settings) as house:
        assert (await house.result(request_id)).status is Status.CANCELLED
    assert [job.status for job in fake.jobs.values()] == ["cancelled"]


async def test_what_no_server_has_taken_up_yet_is_cancelled_at_once_and_never_sent(
    fake: FakeRunComfy, settings: Settings, song: Path
) -> None:
    async with open_house(fake, settings, runs=False) as house:
        request_id = (await house.submit(song)).request_id
        assert (await house.service.cancel(PERSON, request_id)).status is Status.CANCELLED
    async with open_house(fake, settings) as house:
        result = await house.result(request_id)
    assert (result.status, result.cost_usd, fake.calls) == (Status.CANCELLED, 0, [])


@pytest.mark.parametrize(
    ("before_seconds", "files"),
    [(0, {"output.wav", "made.wav"}), (1, {"output.wav"})],
    ids=["one_step", "two_steps"],
)
async def test_only_what_can_be_delivered_is_kept_and_a_week_later_nothing(  # noqa: PLR0913
    fake: FakeRunComfy, settings: Settings, song: Path, clock: Clock, before_seconds: float, files: set[str]
) -> None:
    folder = settings.data_dir / "jobs"
    async with open_house(fake, settings, now=clock) as house:
        request_id = (await house.submit(song, extend_before_duration=before_seconds)).request_id
        await house.status_once(request_id, lambda seen: seen.status is Status.COMPLETED)
        await until(lambda: {path.name for path in (folder / request_id).iterdir()} == files)
    async with open_house(fake, settings, now=clock) as house:
        await house.service.housekeeper.tidy()
        result = await house.result(request_id)
        assert result.status is Status.COMPLETED
        assert result.cost_usd == pytest.approx(sum(job.cost_usd for job in house.jobs()))
    clock.now += 6 * 86_400
    async with open_house(fake, settings, now=clock) as house:
        await house.service.housekeeper.tidy()
        assert {path.name for path in (folder / request_id).iterdir()} == files
    clock.now += 2 * 86_400
    async with open_house(fake, settings, now=clock):
        await until(lambda: not list(folder.iterdir()))


def printed(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """Run the command in this process; returns its exit code, and what it wrote to stdout and stderr."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out.rstrip("\n"), err


@pytest.fixture
def delivered(
    song: Path,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> tuple[str, Path]:
    """A request of the command line's, and where its file was put."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    _, place, _ = printed(capsys, "extend", song, "--after", "1")
    return printed(capsys, "list")[1].split()[2], Path(place)


def test_a_delivered_file_is_copied_to_wherever_it_is_wanted_next_and_over_nothing(
    delivered: tuple[str, Path], song: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request_id, first = delivered
    content = first.read_bytes()
    again: tuple[str | Path, ...] = ("extend", song, "--after", "1")
    for command, name in ((again, "mine.wav"), (("get", request_id), "takes/v1.5.wav")):
        code, place, _ = printed(capsys, *command, "--output", tmp_path / name)
        assert (code, Path(place)) == (0, tmp_path / name)
        assert Path(place).read_bytes() == first.read_bytes() == content
    (tmp_path / "theirs v1.5.wav").write_text("the person's own")
    code, place, said = printed(capsys, "get", request_id, "--output", tmp_path / "theirs v1.5.wav")
    assert (code, place) == (6, "")
    assert "nothing is overwritten" in said
    assert (tmp_path / "theirs v1.5.wav").read_text() == "the person's own"


def test_a_delivered_file_is_copied_into_a_folder_too(
    delivered: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request_id, first = delivered
    for name in ("takes", "takes v1.5"):
        code, place, _ = printed(capsys, "get", request_id, "--output", tmp_path / name)
        assert (code, Path(place)) == (0, tmp_path / name / first.name)
        assert Path(place).read_bytes() == first.read_bytes()
