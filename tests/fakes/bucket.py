"""A bucket on the loopback: a real S3 server, in this process, for clients here and in subprocesses."""

from __future__ import annotations

import logging
import re
import secrets
from typing import TYPE_CHECKING, Self
from urllib.request import Request, urlopen

if TYPE_CHECKING:
    from types import TracebackType

    from moto.server import ThreadedMotoServer

ACCESS_KEY_ID = "AKIAOUTPAINTTEST0000"
SECRET_ACCESS_KEY = "a-secret-that-no-message-may-hold"


class LoopbackBucket:
    """An empty bucket of its own, from `with` on.

    Attributes:
        url: what `OUTPAINT_UPLOAD` is set to.
        environment: the variables that a client of it needs.
    """

    def __init__(self, *, prefix: str = "outpaint/sources") -> None:
        self._prefix = prefix
        self._bucket = f"loopback-{secrets.token_hex(6)}"
        self._server: ThreadedMotoServer | None = None
        self._log_level = logging.NOTSET
        self.url = f"s3://{self._bucket}/{prefix}".rstrip("/")
        self.environment: dict[str, str] = {}

    def __enter__(self) -> Self:
        from moto.server import ThreadedMotoServer  # noqa: PLC0415  half a second, only where it is used

        requests = logging.getLogger("werkzeug")  # whose lines hold signed links
        self._log_level = requests.level
        requests.setLevel(logging.CRITICAL)
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.environment = {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ENDPOINT_URL_S3": f"http://{host}:{port}",  # the more specific one wins
            "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
            "AWS_REGION": "us-east-1",
            "NO_PROXY": "127.0.0.1,localhost",
        }
        self._ask("PUT", "/" + self._bucket)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.stop()
            if self._server._server is not None:
                self._server._server.server_close()
        logging.getLogger("werkzeug").setLevel(self._log_level)

    def names(self) -> list[str]:
        """The keys that are there, the prefix in them."""
        return re.findall(r"<Key>([^<]*)</Key>", self._ask("GET", f"/{self._bucket}?list-type=2"))

    def check_keys(self, *, known: bool) -> None:
        """Whether the key of `environment` is one that the server knows, from here on and in this process."""
        self._ask("POST", "/moto-api/reset-auth", b"inf" if known else b"0")  # so many requests unchecked

    def _ask(self, method: str, path: str, body: bytes = b"") -> str:
        address = self.environment["AWS_ENDPOINT_URL"] + path
        request = Request(address, data=body, method=method, headers={"Content-Type": "text/plain"})
        with urlopen(request, timeout=30) as answer:
            return str(answer.read().decode())
