"""What a request costs, all its takes together, held against what is allowed: SQL inside of a caller's transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from outpaint_mcp.errors import OverBudget

if TYPE_CHECKING:
    import sqlite3

_DAY_SECONDS = 86_400.0

# What comes back is right to a tenth of a second or two and is what the next step is built on, so that a bill may be
# off by some hundredths with nobody's price changed. Whatever is above this is another price.
_TOLERANCE = 1.1

# Sums of floats, such as three times 0.1, are not to be over a limit by their last digit.
_ROUNDING_USD = 1e-9

# While steps are left, what was billed by now is not what it costs.
COST = "CASE WHEN jobs.status NOT IN ('in_queue', 'in_progress') THEN jobs.cost_usd END"
"""What a job has cost; NULL while it is open, and where nobody knows."""

_EXPECTED = "coalesce(steps.cost_usd, steps.estimated_cost_usd)"

ESTIMATE = f"(SELECT sum({_EXPECTED}) FROM steps WHERE steps.request_id = jobs.request_id)"
"""What a job's steps cost: what was billed, and where that is not known, the estimate."""

# No step of a job that has ended is sent any more.
_COUNTS = (
    "(steps.sent_at IS NOT NULL OR EXISTS (SELECT 1 FROM jobs AS own WHERE own.request_id = steps.request_id"
    " AND own.status IN ('in_queue', 'in_progress')))"
)
_IS_SURPRISE = (
    f"(steps.agreed_cost_usd IS NULL OR {_EXPECTED} > steps.agreed_cost_usd * {_TOLERANCE} + {_ROUNDING_USD})"
)
_OF_FAMILY = (
    "steps.request_id IN (SELECT kin.request_id FROM requests AS kin"
    " WHERE kin.request_id = coalesce(requests.take_of, requests.request_id)"
    " OR kin.take_of = coalesce(requests.take_of, requests.request_id))"
)

EXPECTED_BILL = (
    "CASE WHEN EXISTS (SELECT 1 FROM steps WHERE steps.request_id = jobs.request_id AND cost_usd IS NOT NULL"
    f" AND {_IS_SURPRISE}) THEN (SELECT sum(coalesce(agreed_cost_usd, estimated_cost_usd)) FROM steps"
    " WHERE steps.request_id = jobs.request_id AND sent_at IS NOT NULL) END"
)
"""What a job's steps were expected to cost, or were agreed to; NULL where none was billed at more."""

_IN_FAMILY = "requests.request_id = ? OR requests.take_of = ?"

AWAITS_AGREEMENT = (
    "jobs.is_held <> 0 AND jobs.status IN ('in_queue', 'in_progress')"
    f" AND EXISTS (SELECT 1 FROM steps WHERE {_OF_FAMILY} AND {_IS_SURPRISE} AND {_COUNTS})"
)
"""Of `requests JOIN jobs`: whether a take has been held, and the person has not agreed since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What a request costs by now, all its takes together, in US dollars.

    Attributes:
        billed_usd: what the service says that it has billed so far.
        expected_usd: what it was expected to bill for that, or what the person has agreed to since.
        whole_usd: in all: what was billed, and the estimate of the rest.
        agreed_usd: in all, as far as the person knows.
        others_usd: what the caller's other requests cost within a day; 0 where the day has no limit.
        limit_usd: the most that the request may cost; None for no limit.
        day_limit_usd: the most that it and the others may cost together; likewise.
        odd_cost: a bill that cannot be believed.
        sent_usd: what was sent of it, billed or estimated; None where nothing was.
        is_surprise: whether a step costs more than the person knows.
    """

    request_id: str
    takes: int
    billed_usd: float
    expected_usd: float
    whole_usd: float
    agreed_usd: float
    others_usd: float
    limit_usd: float | None
    day_limit_usd: float | None
    odd_cost: str | None
    sent_usd: float | None
    is_surprise: bool

    @property
    def in_words(self) -> str:
        """The figures that a person agrees to."""
        odd = f" and a bill that cannot be believed ({self.odd_cost})" if self.odd_cost else ""
        return (
            f"billed ${self.billed_usd:.4f}{odd}, expected ${self.expected_usd:.4f}; with what is left"
            f" ${self.whole_usd:.4f} in all, instead of ${self.agreed_usd:.4f}"
        )


class NotAgreed(Exception):
    """A step of the request costs more than was expected: nothing more of it is sent before the person agrees.

    Attributes:
        costs: what to agree to.
    """

    def __init__(self, costs: Costs) -> None:
        super().__init__(costs.in_words)
        self.costs = costs


def costs_of(connection: sqlite3.Connection, request_id: str, now: float) -> Costs:
    """Add up what a request costs; `request_id` is its own or that of one of its takes, `now` in Unix seconds."""
    own = connection.execute(
        "SELECT coalesce(take_of, request_id) AS family, takes, caller FROM requests WHERE request_id = ?",
        (request_id,),
    ).fetchone()
    family = own["family"]
    whole = _sum_of_jobs(connection, _IN_FAMILY, family, family)
    limit_usd, day_limit_usd = (
        connection.execute(  # a server with lower ones has lowered them for the take that it carries out
            "SELECT min(limit_usd), min(day_limit_usd) FROM requests"
            f" JOIN jobs ON jobs.request_id = requests.request_id WHERE {_IN_FAMILY}",
            (family, family),
        ).fetchone()
    )
    others = (
        0.0
        if day_limit_usd is None
        else _sum_of_jobs(
            connection,
            "caller = ? AND coalesce(take_of, requests.request_id) <> ?"
            # What was asked for long ago is spent when it is sent.
            " AND (created_at > ? OR jobs.status IN ('in_queue', 'in_progress') OR EXISTS (SELECT 1 FROM steps"
            " WHERE steps.request_id = requests.request_id AND sent_at > ?))",
            own["caller"],
            family,
            now - _DAY_SECONDS,
            now - _DAY_SECONDS,
        )
    )
    steps = connection.execute(
        "SELECT coalesce(sum(cost_usd), 0) AS billed,"
        " coalesce(sum(CASE WHEN cost_usd IS NOT NULL THEN coalesce(agreed_cost_usd, estimated_cost_usd) END), 0)"
        " AS expected,"
        f" coalesce(sum({_EXPECTED} - coalesce(agreed_cost_usd, estimated_cost_usd)), 0) AS beyond,"
        f" coalesce(max({_IS_SURPRISE}), 0) AS is_surprise, max(odd_cost) AS odd_cost,"
        f" sum(CASE WHEN sent_at IS NOT NULL THEN {_EXPECTED} END) AS sent_usd"
        f" FROM steps JOIN requests ON requests.request_id = steps.request_id"
        f" WHERE ({_IN_FAMILY}) AND {_COUNTS}",
        (family, family),
    ).fetchone()
    return Costs(
        request_id=family,
        takes=own["takes"],
        billed_usd=steps["billed"],
        expected_usd=steps["expected"],
        whole_usd=whole,
        agreed_usd=whole - steps["beyond"],
        others_usd=others,
        limit_usd=limit_usd,
        day_limit_usd=day_limit_usd,
        odd_cost=steps["odd_cost"],
        sent_usd=steps["sent_usd"],
        is_surprise=bool(steps["is_surprise"]),
    )


def _sum_of_jobs(connection: sqlite3.Connection, where: str, *values: object) -> float:
    (total,) = connection.execute(
        f"SELECT coalesce(sum(coalesce({COST}, jobs.estimated_cost_usd)), 0) FROM requests"
        f" JOIN jobs ON jobs.request_id = requests.request_id WHERE {where}",
        values,
    ).fetchone()
    return float(total)


def is_over(limit_usd: float | None, cost_usd: float) -> bool:
    """Whether something costs more than is allowed; None allows everything."""
    return limit_usd is not None and cost_usd > limit_usd + _ROUNDING_USD


def check_limit(costs: Costs) -> None:
    """See that a request, and its caller's day, stay within their limits if all that is left of it is sent.

    Raises:
        OverBudget: it does not.
    """
    limits = ((costs.limit_usd, 0.0), (costs.day_limit_usd, costs.others_usd))
    for limit_usd, others_usd in limits:
        if limit_usd is not None and is_over(limit_usd, costs.whole_usd + others_usd):
            raise OverBudget.beyond(limit_usd, costs.whole_usd, costs.takes, others_usd, costs.sent_usd)


def check_sending(connection: sqlite3.Connection, request_id: str, now: float) -> None:
    """See that what is left of a request may be sent.

    Raises:
        OverBudget: it would cost more than is allowed, whoever agrees.
        NotAgreed: it would cost more than the person knows.
    """
    costs = costs_of(connection, request_id, now)
    check_limit(costs)
    if costs.is_surprise:
        raise NotAgreed(costs)


def agree(connection: sqlite3.Connection, request_id: str) -> None:
    """Write down that the person agrees to what each step of a request costs now, billed or estimated."""
    connection.execute(
        f"UPDATE steps SET agreed_cost_usd = {_EXPECTED} WHERE {_IS_SURPRISE} AND request_id IN"
        " (SELECT kin.request_id FROM requests AS kin WHERE kin.request_id = ? OR kin.take_of = ?)",
        (request_id, request_id),
    )
