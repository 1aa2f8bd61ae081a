"""A local file becomes a link that a hosted model can read, in a bucket that the operator chose.

Credentials come from the variables that the cloud's own tools read. obstore is loaded at the first use.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from outpaint_mcp.config.environment import is_loopback, parse_upload
from outpaint_mcp.errors import SourceNotHosted
from outpaint_mcp.sources.names import quoted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from obstore.store import AzureStore, ClientConfig, GCSStore, RetryConfig, S3Store

    Store = S3Store | GCSStore | AzureStore

_logger = logging.getLogger(__name__)

_LINK_LIVES = timedelta(hours=24)
"""As long as a job may take."""

_PART_BYTES = 5 * 1024**2
"""The least that S3 takes as one part of several."""

_CONNECT_SECONDS = 8.0
"""Three attempts at a host that is not there take less than half a minute."""

_PART_SECONDS = 45.0
"""For one part, of which one at a time is on its way, so that an uplink of 1 Mbit/s is enough."""

_SIGN_SECONDS = 30.0
"""Signing is offline with a key; without one, the machine's own role is asked for over the network."""

_NAME = re.compile(r"(?!\.\.?$)[A-Za-z0-9._-]+")

_STATUS = re.compile(r"status code: (\d{3}(?: [A-Za-z]+)*)")
_CODE = re.compile(r"<Code>([A-Za-z]{1,60})</Code>")


@dataclass(frozen=True, slots=True)
class _Cloud:
    """What a message tells to look at; `variables` is how the names of all variables of this cloud begin."""

    variables: str
    key: str
    signing: str
    endpoint: str


_CLOUDS = {
    "s3": _Cloud(
        variables="AWS",
        key="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        signing="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (profiles in ~/.aws are not read; `aws configure "
        "export-credentials --format env` prints them as variables), and check AWS_ENDPOINT_URL if it is set",
        endpoint="AWS_ENDPOINT_URL and AWS_REGION",
    ),
    "gs": _Cloud(
        variables="GOOGLE",
        key="GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_SERVICE_ACCOUNT",
        signing="set GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_SERVICE_ACCOUNT to the key file of a service "
        "account; neither a person's login nor a bearer token can sign",
        endpoint="GOOGLE_BASE_URL, if it is set",
    ),
    "az": _Cloud(
        variables="AZURE",
        key="AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
        signing="set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY; a SAS token cannot sign",
        endpoint="AZURE_STORAGE_ACCOUNT_NAME, and AZURE_STORAGE_ENDPOINT if it is set",
    ),
}


class Bucket:
    """A place of the operator's own that hands out links.

    * `s3://BUCKET/PREFIX` takes `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN` and
      `AWS_REGION`, or the role of the machine or container; a link signed with a session's key ends with the
      session. `AWS_ENDPOINT_URL` is any compatible service; its buckets are in the path unless
      `AWS_VIRTUAL_HOSTED_STYLE_REQUEST=true`, and the endpoint then has the bucket in its host.
    * `gs://BUCKET/PREFIX` takes a service account's key file, which signing needs:
      `GOOGLE_APPLICATION_CREDENTIALS` or `GOOGLE_SERVICE_ACCOUNT`.
    * `az://CONTAINER/PREFIX` takes `AZURE_STORAGE_ACCOUNT_NAME` and `AZURE_STORAGE_ACCOUNT_KEY`; a SAS token
      cannot sign.

    Plain http is spoken with the loopback, elsewhere only with `AWS_ALLOW_HTTP=true` (`GOOGLE_…`, `AZURE_…`).
    A rule of the bucket that clears the prefix after two days, of unfinished uploads too, takes what a crash left.
    """

    def __init__(
        self, url: str, *, connect_seconds: float = _CONNECT_SECONDS, part_seconds: float = _PART_SECONDS
    ) -> None:
        """See the class.

        Args:
            url: the bucket and the prefix that objects are put below.
            connect_seconds: for each of three attempts to connect.
            part_seconds: for a request and its answer; one carries at most 5 MiB.

        Raises:
            ConfigError: as `parse_upload`.
        """
        self._scheme, self._bucket, self._prefix = parse_upload(url)
        self._cloud = _CLOUDS[self._scheme]
        self._shown = quoted(f"{self._scheme}://{self._bucket}")
        self._connect_seconds = connect_seconds
        self._part_seconds = part_seconds

    async def put(self, path: Path, name: str, *, media_type: str) -> str:
        """Put a file there, in parts of 5 MiB; one of the same name is replaced.

        Args:
            path: what is sent.
            name: of the object, below the prefix: letters, digits and `._-`.
            media_type: what the link's answers call it.

        Returns:
            A link that anyone can read for 24 hours, with GET and nothing else; to be kept out of logs.

        Raises:
            SourceNotHosted: no obstore, no key that signs, no such bucket, no permission, no answer, no file.
        """
        async with self._reached(name) as store:  # a key that is missing is told before anything travels
            await store.put_async(
                name, path, attributes={"Content-Type": media_type}, chunk_size=_PART_BYTES, max_concurrency=1
            )
        _, link = await self._signed(name)
        return link

    async def remove(self, name: str) -> None:
        """Remove what `put` put there; one that is gone is fine, and what fails is only logged."""
        try:
            async with self._reached(name) as store:
                with suppress(FileNotFoundError):
                    await store.delete_async(name)
        except SourceNotHosted as exc:
            _logger.warning("%s stays in %s. %s", name, self._shown, exc)

    @asynccontextmanager
    async def _reached(self, name: str) -> AsyncIterator[Store]:
        """The store, whose failures become ours."""
        store, link = await self._signed(name)
        from obstore.exceptions import BaseError  # noqa: PLC0415  an extra, loaded where it is needed

        try:
            yield store
        except (BaseError, OSError) as exc:
            # Its text has addresses, and a refusal's body the key's id and the signature.
            raise self._failure(exc, urlsplit(link).hostname) from None

    async def _signed(self, name: str) -> tuple[Store, str]:
        """The store, and a link to `name` in it, whether or not that is there."""
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name for an object: letters, digits and ._- only.")
        try:
            import obstore  # noqa: PLC0415  an extra, loaded where it is needed
            from obstore.exceptions import BaseError  # noqa: PLC0415  as above
        except ImportError as exc:
            raise SourceNotHosted(
                'Uploads to OUTPAINT_UPLOAD need one more package: run pip install ".[upload]" in the checkout of'
                " outpaint-mcp."
            ) from exc
        try:
            async with asyncio.timeout(_SIGN_SECONDS):
                link = await obstore.sign_async(self._open(), "GET", name, _LINK_LIVES)
        except (BaseError, OSError, ValueError):
            raise SourceNotHosted(f"No link to {self._shown} can be signed: {self._cloud.signing}.") from None
        return self._open(allow_http=self._may_be_plain(link)), link

    def _may_be_plain(self, link: str) -> bool:
        """Whether http may be spoken, which it has to be if `link` is such."""
        address = urlsplit(link)
        variable = f"{self._cloud.variables}_ALLOW_HTTP"
        allowed = os.environ.get(variable, "").strip().lower() in {"1", "true", "yes", "on"}
        plain = allowed or is_loopback(address.hostname or "")
        if address.scheme != "https" and not plain:
            raise SourceNotHosted(
                f"{self._shown} is behind plain http at {address.hostname}, where anybody on the way can read "
                f"and change the file: give an https address in {self._cloud.endpoint}, or set {variable}=true."
            )
        return plain

    def _open(self, *, allow_http: bool = False) -> Store:
        from obstore.store import AzureStore, GCSStore, S3Store  # noqa: PLC0415  as above

        client: ClientConfig = {
            "allow_http": allow_http,
            "connect_timeout": timedelta(seconds=self._connect_seconds),
            "timeout": timedelta(seconds=self._part_seconds),
        }
        # No further attempt once a whole request has timed out: a silent host is told after the first.
        retry: RetryConfig = {"max_retries": 2, "retry_timeout": timedelta(seconds=self._part_seconds)}
        prefix = self._prefix or None
        if self._scheme == "gs":
            return GCSStore(self._bucket, prefix=prefix, client_options=client, retry_config=retry)
        if self._scheme == "az":
            return AzureStore(self._bucket, prefix=prefix, client_options=client, retry_config=retry)
        return S3Store(
            self._bucket,
            prefix=prefix,
            client_options=client,
            retry_config=retry,
            disable_bulk_delete=True,  # some compatible services have only the plain DELETE
        )

    def _failure(self, exc: Exception, host: str | None) -> SourceNotHosted:
        """What happened and which variable to look at, most specific first."""
        from obstore.exceptions import PermissionDeniedError, UnauthenticatedError  # noqa: PLC0415  as above

        key, endpoint = self._cloud.key, self._cloud.endpoint
        answer = ", ".join(match[1] for match in (_STATUS.search(str(exc)), _CODE.search(str(exc))) if match)
        if isinstance(exc, PermissionDeniedError | UnauthenticatedError):
            said = f"{self._shown} refused ({answer}): check {key}, and that this key may read, write and delete there."
        elif isinstance(exc, FileNotFoundError) and answer:
            said = (
                f"{self._shown} is not there ({answer}): check the name in OUTPAINT_UPLOAD, and {endpoint}."
            )
        elif isinstance(exc, OSError):
            said = "The source cannot be read on this machine any more: check the file."
        elif answer:
            said = f"{self._shown} could not do it ({answer}): check {endpoint}, or try again later."
        else:
            said = (
                f"{host} does not answer, its certificate is not trusted, or the line is too slow: check the "
                f"network and {endpoint}, or try again later."
            )
        return SourceNotHosted(said)
