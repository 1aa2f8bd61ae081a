"""RunComfy's JSON: whatever it says is read or refused in our own words, and nothing secret is repeated."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outpaint_mcp.errors import (
    InsufficientBalance,
    OutpaintError,
    ProviderRejected,
    ProviderUnavailable,
    RateLimited,
    RequestNotFound,
    Unauthorized,
    UnexpectedReply,
)
from outpaint_mcp.models import CancelOutcome, OutpaintRequest, Status
from outpaint_mcp.providers.remote.model import RemoteStatus
from outpaint_mcp.providers.runcomfy.api import reading, refusals, wire
from outpaint_mcp.providers.runcomfy.model import LIST_PRICE

if TYPE_CHECKING:
    from collections.abc import Callable

    from outpaint_mcp.providers.runcomfy.api.reading import Json

SONG = "https://music.example/song.wav?sig=submitted"
MADE = "https://playgrounds-storage-public.runcomfy.net/made.wav?sig=made"
OTHER = "https://playgrounds-storage-public.runcomfy.net/other.wav"

WORDS = {
    "in_queue": Status.IN_QUEUE,
    "pending": Status.IN_QUEUE,
    "waiting": Status.IN_QUEUE,
    "queued": Status.IN_QUEUE,
    "in_progress": Status.IN_PROGRESS,
    "starting": Status.IN_PROGRESS,
    "processing": Status.IN_PROGRESS,
    "running": Status.IN_PROGRESS,
    "completed": Status.COMPLETED,
    "succeeded": Status.COMPLETED,
    "cancelled": Status.CANCELLED,
    "canceled": Status.CANCELLED,
    "failed": Status.FAILED,
}

READERS: dict[str, Callable[[Json], object]] = {
    "status": wire.status_of,
    "result": lambda body: wire.result_of(body, submitted_audio=SONG),
    "price": wire.price_of,
    "balance": wire.balance_of,
    "request_id": wire.request_id_of,
    "cancel": wire.cancel_outcome_of,
    "words": reading.words_of,
    "answer": lambda body: refusals.refusal(200, body),
    "refusal": lambda body: [refused(status, body) for status in (302, 400, 404, 429, 503)],
}

STATE_KEYS = ["request_id", "status", "queue_position", "output", "audio", "audios", "url", "image", "input"]
MONEY_KEYS = ["cost", "balance_usd", "base_price_usd", "price_unit"]
ERROR_KEYS = ["outcome", "error", "error_code", "error_message", "message", "msg", "detail"]
KEYS = [*STATE_KEYS, *MONEY_KEYS, *ERROR_KEYS]
ANY_TEXT = st.text(st.characters())  # half characters too: JSON can escape them
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**300, max_value=10**700)
    | st.floats()
    | ANY_TEXT
    | st.sampled_from([*WORDS, "second", "output", "400002", "nan", "-inf", "1e999", SONG, MADE])
    | st.sampled_from([400001, 400002, 400004, 403001, 404001, 429001, 500001, 0])
)
NAMES = st.sampled_from(KEYS) | ANY_TEXT
ANY_JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=8
)
BODIES = st.dictionaries(NAMES, ANY_JSON, max_size=5)


def nested(depth: int, *, within: str | None = None) -> Any:  # noqa: ANN401 - JSON
    value: Any = MADE
    for _ in range(depth):
        value = [value] if within is None else {within: value}
    return value


def refused(http_status: int, body: Json) -> OutpaintError:
    error = refusals.refusal(http_status, body)
    assert error is not None
    return error


def is_fit_to_be_shown(text: str) -> bool:
    return text.isprintable() and len(text) <= 300 and text == text.strip()


@given(body=BODIES)
def test_no_json_makes_a_reader_raise_anything_but_our_own_errors(body: Json) -> None:
    for read in READERS.values():
        with suppress(OutpaintError):
            read(body)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("within", [None, "audio", "message"])
def test_no_depth_is_too_deep(reader: str, within: str | None) -> None:
    deep = nested(5_000, within=within)
    for key in KEYS:
        with suppress(UnexpectedReply):
            READERS[reader]({"status": "failed", key: deep})


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("value", [10**400, -(10**400), math.nan, math.inf, [], {}, "\0", "\ud800"], ids=repr)
def test_no_value_is_too_odd(reader: str, value: object) -> None:
    body = {"base_price_usd": 1, "price_unit": "second", "status": "in_queue", "request_id": "r"}
    READERS[reader](body)
    for key in KEYS:
        with suppress(UnexpectedReply):
            READERS[reader](body | {key: value})


@given(body=BODIES)
def test_what_is_read_is_within_bounds(body: Json) -> None:
    body = {"status": "in_queue"} | body
    try:
        status, result = wire.status_of(body), wire.result_of(body, submitted_audio=SONG)
    except UnexpectedReply:
        return
    assert status.word
    assert is_fit_to_be_shown(status.word)
    assert (
        status.queue_position is None or 0 <= status.queue_position < 2**31
    )  # SQLite takes no more than 2**63
    assert status.queue_position is None or status.status is Status.IN_QUEUE
    assert result.cost_usd is None or 0 <= result.cost_usd <= reading.MOST_USD
    assert len(set(result.urls)) == len(result.urls)
    assert SONG not in result.urls
    assert all(url.startswith(("http://", "https://")) for url in result.urls)
    assert (result.error is not None) == (result.status is Status.FAILED)


@given(text=ANY_TEXT)
def test_what_is_shown_is_one_printable_line(text: str) -> None:
    assert is_fit_to_be_shown(reading.shown(text))


SECRET = st.text("0123456789abcdef", min_size=16, max_size=64)
NOT_SECRET = st.text(st.characters(exclude_characters="0123456789abcdef"))
MARKS = st.text("\0\x1b\x7f\u200b\u202e\ud800", max_size=2)  # vanish, wherever they stand
SCHEMES = st.sampled_from(["https", "HTTPS", "http", "s3", "wss"])
STARTS = st.sampled_from(["?", "#", "?filename*=UTF-8''a.wav&", "?x='y'&", "??", "?x=?"])


@given(secret=SECRET, mark=st.sampled_from("\0\x7f\u00ad\u200b\u202e"), at=st.integers(1, 15))
def test_an_echo_of_the_token_is_not_read_however_it_is_written(secret: str, mark: str, at: int) -> None:
    for echo in (secret, secret.upper(), f"Bearer {secret[:at]}{mark}{secret[at:]}"):
        body = reading.object_of(
            json.dumps({"error": echo, echo: [echo], "status": echo}).encode(), secret=secret
        )
        assert secret not in json.dumps([body, reading.words_of(body), reading.word_of(body)]).lower()


@given(around=NOT_SECRET, scheme=SCHEMES, mark=MARKS, start=STARTS, secret=SECRET)
def test_no_query_of_a_link_is_shown(around: str, scheme: str, mark: str, start: str, secret: str) -> None:
    link = f"{scheme}:{mark}//host.example/it's.wav{mark}{start}{mark}X-Amz-Signature={secret}"
    for text in (link, f"{around} '{link}': 403", f"{around}{link} {around}"):
        assert secret not in reading.shown(text)


@given(path=st.sampled_from(["", "/bucket/key", r"https:\/\/x\/a", "x.example/a"]), mark=MARKS, secret=SECRET)
def test_no_query_without_its_host_is_shown(path: str, mark: str, secret: str) -> None:
    assert secret not in reading.shown(f"GET {path}{mark}?X-Amz-Signature={secret}: 403")


@given(
    head=st.sampled_from(
        ["data:audio/wav;base64,", "DATA:audio/mpeg;base64,", "data:,", "data:audio/x-wav;a=b;base64,"]
    ),
    mark=MARKS,
    content=st.text("ABCDF0189+/=_-%.~!", min_size=12),
)
def test_no_inline_audio_is_shown(head: str, mark: str, content: str) -> None:
    assert content not in reading.shown(f"could not read {head[:3]}{mark}{head[3:]}{content}: is it MP3?")


def test_a_message_that_echoes_megabytes_is_shown_at_once_and_short() -> None:
    for echo in ("data:audio/wav;base64," + "A" * 20_000_000, "data:" + "a;" * 500_000, "https://" * 500_000):
        assert len(reading.shown(echo)) <= 300


def test_what_is_shown_keeps_what_a_person_needs() -> None:
    assert reading.shown(f"could not read {SONG}:\n is it\tMP3?") == (
        "could not read https://music.example/song.wav is it MP3?"
    )
    assert reading.shown("Is seed = -1 meant? Yes.") == "Is seed = -1 meant? Yes."
    assert reading.shown("ü" * 301) == "ü" * 299 + "…"


@pytest.mark.parametrize("body_of", [lambda words: words, lambda words: {"message": words}])
@pytest.mark.parametrize("key", ["error_message", "message", "error", "detail"])
@given(secret=SECRET)
def test_no_error_repeats_what_is_not_fit_to_be_shown(
    key: str, body_of: Callable[[str], object], secret: str
) -> None:
    body = {"status": "failed", key: body_of(f"bad\n\x1b[31m https://x.example/a?sig={secret}")}
    errors = [refused(status, body) for status in (302, 400, 401, 402, 403, 404, 422, 429, 500)]
    for words in (wire.result_of(body).error, *map(str, errors)):
        assert words is not None
        assert "https://x.example/a" in words
        assert secret not in words
        assert words.isprintable()


@pytest.mark.parametrize(("word", "status"), WORDS.items())
def test_every_known_word_has_its_meaning_in_any_case(word: str, status: Status) -> None:
    for said in (word, word.upper(), f" {word}\n"):
        assert wire.status_of({"status": said}) == RemoteStatus(status=status, word=word)


@pytest.mark.parametrize("word", ["warming_up", "Verifying  Result", "completed?", "error"])
def test_a_word_that_is_not_known_is_still_running_and_is_kept(word: str) -> None:
    seen = wire.status_of({"status": word, "queue_position": 3})
    assert seen == RemoteStatus(status=Status.IN_PROGRESS, word=" ".join(word.lower().split()))


@pytest.mark.parametrize("body", [{}, {"status": None}, {"status": " "}, {"status": "\0"}, {"status": 3}])
def test_an_answer_without_a_status_means_nothing(body: Json) -> None:
    with pytest.raises(UnexpectedReply):
        wire.status_of(body)
    with pytest.raises(UnexpectedReply):
        wire.result_of(body)


@pytest.mark.parametrize(
    ("said", "position"), [(3, 3), ("3", 3), (2.0, 2), (0, 0), (-1, None), (True, None), (2**63, None)]
)
def test_a_place_in_the_queue_is_told_while_it_is_one(said: object, position: int | None) -> None:
    assert wire.status_of({"status": "in_queue", "queue_position": said}).queue_position == position
    assert wire.status_of({"status": "completed", "queue_position": said}).queue_position is None


@pytest.mark.parametrize(
    ("output", "urls"),
    [
        ({"audio": MADE}, (MADE,)),
        ({"audios": [MADE]}, (MADE,)),
        ({"audio": OTHER, "audios": [MADE]}, (MADE, OTHER)),
        ({"audio": MADE, "audios": [MADE]}, (MADE,)),
        (MADE, (MADE,)),
        ([MADE, OTHER], (MADE, OTHER)),
        ({"audios": [{"url": MADE, "content_type": "audio/wav"}]}, (MADE,)),
        ({"preview": OTHER, "audio": MADE}, (MADE, OTHER)),
        ({"files": {"wav": MADE}}, (MADE,)),
        ({"images": [OTHER], "video": OTHER, "audio": MADE}, (MADE, OTHER)),
        ({"video": OTHER, "file": MADE}, (MADE, OTHER)),
        ({"image": MADE}, (MADE,)),
        ({"images": [{"url": OTHER}], "videos": [MADE]}, (OTHER, MADE)),
        ({"audio": "made.wav"}, ()),
        ({"audio": "data:audio/wav;base64,AAAA"}, ()),
        (None, ()),
        (7, ()),
    ],
    ids=json.dumps,
)
def test_the_audio_is_found_in_every_shape_of_output(output: object, urls: tuple[str, ...]) -> None:
    assert wire.result_of({"status": "succeeded", "output": output}).urls == urls


def test_inputs_that_are_echoed_are_no_result() -> None:
    body = {
        "status": "succeeded",
        "audio": OTHER,
        "input": {"audio": OTHER},
        "output": {"audio": SONG, "audios": [SONG, MADE], "input": {"audio": SONG}},
    }
    assert wire.result_of(body, submitted_audio=SONG).urls == (MADE,)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"error": "out of memory"}, "out of memory"),
        ({"error": {"code": "MODEL_ERROR", "message": "out of memory"}}, "out of memory"),
        ({"error": ["out of memory", "twice"]}, "out of memory"),
        ({"error": {"code": 7}, "message": "out of memory"}, "out of memory"),
        ({"error_code": 500001, "error_message": "out of memory"}, "out of memory"),
        ({"error": " "}, "RunComfy gives no reason"),
        ({}, "RunComfy gives no reason"),
    ],
)
def test_a_failure_gives_its_reason_in_whatever_shape(body: Json, error: str) -> None:
    assert wire.result_of({"status": "failed"} | body).error == error
    assert wire.result_of({"status": "succeeded"} | body).error is None


@pytest.mark.parametrize(
    ("cost", "cost_usd"), [(0.02, 0.02), ("0.02", 0.02), (0, 0), (None, None), ("free", None), (-1, None)]
)
def test_a_cost_is_a_number_or_not_told(cost: object, cost_usd: float | None) -> None:
    assert wire.result_of({"status": "succeeded", "cost": cost}).cost_usd == cost_usd
    assert wire.balance_of({"balance_usd": cost}) == cost_usd


@pytest.mark.parametrize(
    ("cost", "odd"),
    [
        (-1, "-1"),
        ("-0.5", "-0.5"),
        (math.nan, "nan"),
        ("NaN", "nan"),
        (math.inf, "inf"),
        (10**400, "inf"),
        (1e308, "1e+308"),
        (1_000_001, "1e+06"),
    ],
)
def test_an_amount_that_no_money_can_be_is_none_and_is_told(cost: object, odd: str) -> None:
    result = wire.result_of({"status": "succeeded", "cost": cost})
    assert (result.cost_usd, result.odd_cost) == (None, odd)
    assert wire.balance_of({"balance_usd": cost}) is None
    with pytest.raises(UnexpectedReply):
        wire.price_of({"base_price_usd": cost, "price_unit": "second"})


@pytest.mark.parametrize("cost", [0.02, "0.02", 0, 1_000_000, None, "free", True, [], {}])
def test_what_is_an_amount_and_what_is_no_attempt_at_one_is_not_odd(cost: object) -> None:
    assert wire.result_of({"status": "succeeded", "cost": cost}).odd_cost is None


def test_a_price_is_per_second_or_per_output() -> None:
    assert wire.price_of({"base_price_usd": "0.0002", "price_unit": "second"}).at_most_usd(
        90, 2
    ) == pytest.approx(0.018)
    assert wire.price_of({"base_price_usd": 0.5, "price_unit": "output"}).at_most_usd(90, 2) == 1.0
    assert LIST_PRICE.at_most_usd(1_000, 1) == pytest.approx(0.2)


@pytest.mark.parametrize("unit", ["megapixel", "", None, [], {}, ["second"]])
def test_a_price_in_an_unknown_unit_is_none(unit: object) -> None:
    with pytest.raises(UnexpectedReply):
        wire.price_of({"base_price_usd": 0.5, "price_unit": unit})


@pytest.mark.parametrize("request_id", ["r", "a-b_C9" * 21, "0"])
def test_a_request_id_is_returned_as_it_is(request_id: str) -> None:
    assert wire.request_id_of({"request_id": request_id}) == request_id


@pytest.mark.parametrize("request_id", ["", "a b", "../x", "r\n", "é", "٣", "r" * 129, 7, None, ["r"]])
def test_what_cannot_stand_in_a_path_is_no_request_id(request_id: object) -> None:
    with pytest.raises(UnexpectedReply):
        wire.request_id_of({"request_id": request_id})


@pytest.mark.parametrize(
    ("body", "is_cancelled"),
    [
        ({"outcome": "cancelled"}, True),
        ({"outcome": "not_cancellable", "status": "in_progress"}, False),
        ({"outcome": "not_cancellable", "status": "cancelled"}, True),
        ({"outcome": True}, False),
        ({"outcome": ["cancelled"]}, False),
        ({}, False),
    ],
)
def test_only_a_yes_or_a_request_that_is_cancelled_counts_as_cancelled(
    body: Json,
    is_cancelled: bool,  # noqa: FBT001
) -> None:
    assert (wire.cancel_outcome_of(body) is CancelOutcome.CANCELLED) == is_cancelled


@pytest.mark.parametrize(
    ("http_status", "body", "error"),
    [
        (401, {}, Unauthorized),
        (400, {"error_code": 400004}, Unauthorized),
        (400, {"error_code": "400004"}, Unauthorized),
        (200, {"error_code": 400004}, Unauthorized),
        (403, {}, Unauthorized),
        (400, {"error_code": 403001}, Unauthorized),
        (402, {}, InsufficientBalance),
        (400, {"error_code": 400002}, InsufficientBalance),
        (200, {"error_code": 400002}, InsufficientBalance),
        (404, {}, ProviderUnavailable),  # a gateway's word
        (404, {"error_code": 404001}, RequestNotFound),
        (404, {"error_code": 404}, RequestNotFound),
        (410, {"error_code": 1}, RequestNotFound),
        (200, {"error_code": 404001}, RequestNotFound),
        (400, {"error_code": 400001}, ProviderRejected),
        (422, {"detail": [{"msg": "no"}]}, ProviderRejected),
        (200, {"error_code": 400001}, ProviderRejected),
        (200, {"error_code": 7}, ProviderRejected),
        (200, {"error_message": "no"}, ProviderRejected),
        (302, {}, ProviderRejected),
        (429, {}, RateLimited),
        (200, {"error_code": 429001}, RateLimited),
        (408, {}, ProviderUnavailable),
        (500, {}, ProviderUnavailable),
        (599, {}, ProviderUnavailable),
        (200, {"error_code": 500001}, ProviderUnavailable),
        (200, {"error_code": 10**300}, ProviderUnavailable),
    ],
)
def test_every_refusal_is_an_error_of_its_kind(
    http_status: int, body: Json, error: type[OutpaintError]
) -> None:
    raised = refusals.refusal(http_status, body, retry_after_seconds=3)
    assert type(raised) is error
    assert f"HTTP {http_status}" in str(raised)
    assert not isinstance(raised, ProviderUnavailable) or raised.retry_after_seconds == 3


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"error_code": 0, "error_message": "success", "request_id": "r"},
        {"error_code": None, "error_message": None},
        {"error_code": "", "error_message": ""},
        {"status": "failed", "error_message": "out of memory"},
        {"status": "failed", "error_code": 500001, "error_message": "out of memory"},
        {"status": "in_progress", "error_code": 404001},
    ],
)
def test_an_answer_that_says_where_a_request_stands_is_no_refusal(body: Json) -> None:
    assert refusals.refusal(200, body) is None
    assert refusals.refusal(202, body) is None


@given(
    tags=st.text(),
    lyrics=st.text(),
    seed=st.integers(-1, 2**31 - 1),
    before=st.just(0.0) | st.floats(0.01, 240),
    after=st.floats(1, 240),
)
def test_what_is_sent_is_the_six_inputs_one_to_one(
    tags: str, lyrics: str, seed: int, before: float, after: float
) -> None:
    request = OutpaintRequest(
        audio=SONG,
        tags=tags,
        lyrics=lyrics,
        seed=seed,
        extend_before_duration=before,
        extend_after_duration=after,
    )
    assert json.loads(json.dumps(wire.payload(request))) == {
        "audio": SONG,
        "tags": tags,
        "extend_before_duration": before,
        "extend_after_duration": after,
        "lyrics": lyrics,
        "seed": seed,
    }
