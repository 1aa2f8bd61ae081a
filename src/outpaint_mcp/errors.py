"""Everything that can go wrong, as one tree.

A message says what happened, in words that fit every surface: it names no tool, no argument and no command-line
option. What to do next is a `Hint`, and the input at fault is a `field`: the tools and the terminal each have their own
words for these (`reports.wording.explain`). No message holds a token, a query string or lyrics.

* OutpaintError
  * InvalidRequest        the request cannot be carried out by anyone
  * SourceError           the source audio
    * SourceUnreachable   not found, or its host did not answer
      * SourceBusy        its host is busy, or broke off; another try may do
    * SourceTooLarge      more bytes or seconds than the limits allow
    * UnsupportedAudio    not audio, or not audio that can be decoded
    * SourceNotAllowed    outside the folders or addresses that may be read
    * SourceNotHosted     could not be put where a hosted model can read it
  * RequestNotFound       no such request id
  * GenerationFailed      the provider took the request and could not carry it out
    * WorkerDied          the process that worked on it died; another may not
      * WorkerInterrupted it was ended by a signal that was not meant for it
      * WorkerTimedOut    it took too long and was stopped
    * NothingNew          what a hosted model returned ends where what it was sent does
  * ProviderError         the provider itself
    * ProviderUnavailable the provider cannot work now
      * RateLimited       it was asked too often
    * Unauthorized        no token, or one that it does not accept
    * InsufficientBalance the account has too little money
    * OverBudget          it would cost more than the operator allows
    * ProviderRejected    it refused the request, which was not carried out
    * SubmissionUnknown   the reply to a submission was lost: it may have been accepted and billed
    * UnexpectedReply     its reply makes no sense
  * DeliveryFailed        the result is there but could not be put into the output folder
  * StorageFailed         the data folder cannot be read or written
  * ServerBusy            this server has too much to do to take on more
  * LimitReached          one caller has as much as one caller may have
  * ServerStopping        this server is shutting down
  * InternalError         a bug in this program
  * ConfigError           start-up only: a setting that cannot be used
"""

from __future__ import annotations

from enum import StrEnum


class Hint(StrEnum):
    """What to do next; each surface has a sentence of its own for it."""

    FIND_REQUEST = "find_request"
    """Look up the request's id."""
    AWAIT_RESULT = "await_result"
    """Wait for the result of a request that has not ended."""
    FETCH_RESULT = "fetch_result"
    """Get the file of a completed request."""
    GET_RESULT = "get_result"
    """Ask for the result again, now or later; nothing is lost."""
    AGREE = "agree"
    """Have the person agree to what a request costs more than was expected."""
    CHECK_STATUS = "check_status"
    """Look at the request's status in a moment."""
    SUBMIT_AGAIN = "submit_again"
    """Submit the same request again."""
    CHOOSE_ANOTHER_PLACE = "choose_another_place"
    """Have the result put somewhere else."""
    SET_LENGTH = "set_length"
    """Ask for more than 0 seconds on one side at least."""
    SET_TOTAL = "set_total"
    """Ask for a length of the whole instead, which may be longer than one side can get."""
    END_EARLIER = "end_earlier"
    """The input that says where the part to extend ends."""
    FIND_FILE = "find_file"
    """Look up what the files that may be read are called."""
    OPEN_FOLDER = "open_folder"
    """Put the file into a folder that may be read, or allow its folder."""
    SET_CREDENTIALS = "set_credentials"
    """Give the program what a paid provider knows its customers by, or use one that is free."""
    START = "start"
    """Submit what was only asked about."""
    SEND_FILE = "send_file"
    """Send the file to this server first, by a link."""
    SAVE_ATTACHMENT = "save_attachment"
    """Save the file on this machine first: a chat's attachments are out of reach."""


class OutpaintError(Exception):
    """Root of the tree; its text is written for the agent and the person.

    Attributes:
        hint: what to do next.
        request_id: the request that it is about.
        path: the file or folder that it is about.
        field: the input at fault, by its name in `OutpaintRequest` or `SubmitRequest`.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: Hint | None = None,
        request_id: str | None = None,
        path: str | None = None,
        field: str | None = None,
    ) -> None:
        super().__init__(message)
        self.hint = hint
        self.request_id = request_id
        self.path = path
        self.field = field


class InvalidRequest(OutpaintError):
    """The request cannot be carried out by anyone.

    Attributes:
        others: what else is wrong with it.
    """

    others: tuple[InvalidRequest, ...] = ()


class SourceError(OutpaintError):
    """The source audio cannot be used."""


class SourceUnreachable(SourceError):
    """The source was not found, or its host did not answer."""


class SourceBusy(SourceUnreachable):
    """The source's host is busy, or broke off: another try may do.

    Attributes:
        retry_after_seconds: how long it wants to be left alone, where it says so.
    """

    retry_after_seconds: float | None = None


class SourceTooLarge(SourceError):
    """The source has more bytes or seconds than the limits allow."""


class UnsupportedAudio(SourceError):
    """The source is not audio, or not audio that can be decoded."""


class SourceNotAllowed(SourceError):
    """The source lies outside the folders or addresses that may be read."""


class SourceNotHosted(SourceError):
    """The source could not be put where a hosted model can read it."""


class RequestNotFound(OutpaintError):
    """No request has this id."""


class GenerationFailed(OutpaintError):
    """The provider took the request and could not carry it out."""


class NothingNew(GenerationFailed):
    """What a hosted model returned ends where the music that it was sent does."""


class WorkerDied(GenerationFailed):
    """The process that worked on it died; another may not."""


class WorkerInterrupted(WorkerDied):
    """The process was ended by a signal that was not meant for it; the work can be started again."""


class WorkerTimedOut(WorkerDied):
    """The process took too long and was stopped."""


class ProviderError(OutpaintError):
    """The provider itself is in trouble."""


class ProviderUnavailable(ProviderError):
    """The provider cannot work at the moment.

    Attributes:
        retry_after_seconds: how long it wants to be left alone, where it says so.
    """

    retry_after_seconds: float | None = None


class RateLimited(ProviderUnavailable):
    """The provider was asked too often."""


class Unauthorized(ProviderError):
    """There is no token, or the provider does not accept it."""


class InsufficientBalance(ProviderError):
    """The account has too little money for the request."""


class OverBudget(ProviderError):
    """The request would cost more than the operator allows, or nobody knows what; nothing more is sent."""

    @classmethod
    def beyond(
        cls,
        limit_usd: float,
        cost_usd: float,
        takes: int,
        spent_usd: float = 0,
        sent_usd: float | None = None,
    ) -> OverBudget:
        """Say by how much, all takes together, after what was spent before; `sent_usd` is None before it is sent."""
        each = f" ({takes} takes)" if takes > 1 else ""
        before = f", after ${spent_usd:.4f} in the last 24 hours," if spent_usd else ""
        fewer = "fewer takes or " if takes > 1 else ""
        rest = (
            f"Nothing was sent. Ask for {fewer}a shorter extension, or have the limit raised."
            if sent_usd is None
            else f"So far it has cost ${sent_usd:.4f}; nothing more is sent."
        )
        return cls(
            f"This request would cost up to ${cost_usd:.4f}{each}, which{before} is over the limit of ${limit_usd:g}"
            f" that the operator has set (OUTPAINT_MAX_COST_USD). {rest}"
        )

    @classmethod
    def without_price(cls, limit_usd: float, reason: str) -> OverBudget:
        """Say that nobody knows whether a request stays within the limit; `reason` is why, in a sentence."""
        return cls(
            f"The price could not be read, so that nobody can say whether this request stays within the limit of"
            f" ${limit_usd:g} that the operator has set (OUTPAINT_MAX_COST_USD): {reason} Nothing was sent. Try again"
            " later, or have the limit removed."
        )


class ProviderRejected(ProviderError):
    """The provider refused the request, which was not carried out."""


class SubmissionUnknown(ProviderError):
    """The reply to a submission was lost: it may have been accepted and billed, so it is never repeated."""


class UnexpectedReply(ProviderError):
    """The provider's reply makes no sense."""


class DeliveryFailed(OutpaintError):
    """The result exists but could not be put into the output folder."""


class StorageFailed(OutpaintError):
    """The data folder cannot be read or written."""


class ServerBusy(OutpaintError):
    """This server has too much to do; nothing was begun, and its text says when to try again."""


class LimitReached(OutpaintError):
    """A caller has as much as one caller may have; nothing was begun, and its text says when there is room again."""


class ServerStopping(OutpaintError):
    """This server is shutting down; another one can do what was asked."""


class InternalError(OutpaintError):
    """A bug in this program; its log has the traceback."""


class ConfigError(OutpaintError):
    """A setting cannot be used; raised at start-up only."""


def error_of_kind(
    kind: str | None, message: str, *, hint: str | None = None, field: str | None = None
) -> OutpaintError:
    """Rebuild an error from its stored or received name; one that no longer exists becomes its root.

    Args:
        kind: the class's name.
        message: its text.
        hint: the value of its hint.
        field: the input at fault.
    """
    found = globals().get(kind or "")
    is_ours = isinstance(found, type) and issubclass(found, OutpaintError)
    error_type: type[OutpaintError] = found if is_ours else OutpaintError  # type: ignore[assignment]
    return error_type(message, hint=Hint(hint) if hint in set(Hint) else None, field=field)
