"""Everything that can go wrong, as one tree.

Each message says what happened and what to do next; it reaches the agent as it stands, so it
holds no token, no query string and no lyrics.

* OutpaintError
  * InvalidRequest        the request cannot be carried out by anyone
  * SourceError           the source audio
    * SourceUnreachable   not found, or its host did not answer
    * SourceTooLarge      more bytes or seconds than the limits allow
    * UnsupportedAudio    not audio, or not audio that can be decoded
    * SourceNotAllowed    outside the folders or addresses that may be read
    * SourceNotHosted     could not be put where a hosted model can read it
  * RequestNotFound       no such request id
  * GenerationFailed      the provider took the request and could not carry it out
    * WorkerDied          the process that was at it died; another may not
    * NothingNew          what a hosted model returned ends where what it was sent does
  * ProviderError         the provider itself
    * ProviderUnavailable the provider cannot work now
      * RateLimited       it is asked too often
    * Unauthorized        no token, or one that it does not take
    * InsufficientBalance the account has too little money
    * OverBudget          dearer than the operator allows
    * ProviderRejected    it refused the request, which was not carried out
    * SubmissionUnknown   the answer to a submission was lost: it may have been taken on and billed
    * UnexpectedReply     it answered something that context nothing
  * DeliveryFailed        the result is there but could not be put into the output folder
  * StorageFailed         the data folder cannot be read or written
  * ConfigError           start-up only: a setting that cannot be used
"""


class OutpaintError(Exception):
    """Root of the tree; its text is written for the agent and the person."""


class InvalidRequest(OutpaintError):
    """The request cannot be carried out by anyone."""


class SourceError(OutpaintError):
    """The source audio cannot be used."""


class SourceUnreachable(SourceError):
    """The source was not found, or its host did not answer."""


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
    """The process that was at it died; another may not."""


class ProviderError(OutpaintError):
    """The provider itself is in trouble."""


class ProviderUnavailable(ProviderError):
    """The provider cannot work at the moment.

    Attributes:
        retry_after_seconds: how long it wants to be left alone, where it says so.
    """

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class RateLimited(ProviderUnavailable):
    """The provider is asked too often."""


class Unauthorized(ProviderError):
    """There is no token, or the provider does not take it."""


class InsufficientBalance(ProviderError):
    """The account has too little money for the request."""


class OverBudget(ProviderError):
    """The request is dearer than the operator allows; nothing was sent."""


class ProviderRejected(ProviderError):
    """The provider refused the request, which was not carried out."""


class SubmissionUnknown(ProviderError):
    """The answer to a submission was lost: it may have been taken on and billed, so it is never repeated."""


class UnexpectedReply(ProviderError):
    """The provider answered something that means nothing."""


class DeliveryFailed(OutpaintError):
    """The result exists but could not be put into the output folder."""


class StorageFailed(OutpaintError):
    """The data folder cannot be read or written."""


class ConfigError(OutpaintError):
    """A setting cannot be used; raised at start-up only."""
