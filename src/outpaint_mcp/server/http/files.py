"""Files over HTTP: sending them, downloading results, deleting both; by whoever calls, or by a link alone."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from outpaint_mcp.errors import (
    InvalidRequest,
    OutpaintError,
    RequestNotFound,
    ServerBusy,
    ServerStopping,
    SourceTooLarge,
    StorageFailed,
    UnsupportedAudio,
)
from outpaint_mcp.server.content import explained, principal
from outpaint_mcp.server.http import pages
from outpaint_mcp.server.http.receiving import Interrupted, announced_bytes, is_form, receive
from outpaint_mcp.server.http.sending import SAFE_HEADERS, send_file
from outpaint_mcp.server.http.settings import CALLER_PATH, LINK_PATH
from outpaint_mcp.service.file_links import Purpose
from outpaint_mcp.service.file_threads import FileThreads
from outpaint_mcp.service.uploads import LinkSpent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from starlette.types import ASGIApp, Receive, Scope, Send

    from outpaint_mcp.principals import Principal
    from outpaint_mcp.server.http.limits import Limits
    from outpaint_mcp.service.file_links import Claim, FileLinks
    from outpaint_mcp.service.on_demand import ServiceOnDemand
    from outpaint_mcp.service.service import OutpaintService

_MOST_AT_ONCE = 4
_STATUSES: dict[type[OutpaintError], int] = {
    InvalidRequest: 400,
    RequestNotFound: 404,
    SourceTooLarge: 413,
    UnsupportedAudio: 415,
    ServerBusy: 503,
    ServerStopping: 503,
    StorageFailed: 507,
}
_NO_LINK = (
    "This link does not work: it is wrong, has expired, or was used before. Ask the assistant for a new one."
)
_PRIVATE = {**{name.decode(): value.decode() for name, value in SAFE_HEADERS}, "cache-control": "no-store"}


class Files:
    """Answers what is about files; all else goes on to the application behind it."""

    def __init__(self, app: ASGIApp, service: ServiceOnDemand, links: FileLinks, limits: Limits) -> None:
        """Prepare.

        Args:
            app: the application behind it.
            service: where files are.
            links: those that are ours.
            limits: how long a body may take.
        """
        self._app = app
        self._service = service
        self._links = links
        self._limits = limits
        self._threads = FileThreads()
        self._receiving: Counter[str] = Counter()
        self._routes: dict[tuple[str, str], Callable[[Request, str], Awaitable[Response]]] = {
            ("POST", "/files"): self._take,
            ("DELETE", "/files"): self._delete_upload,
            ("DELETE", "/requests"): self._delete_request,
            ("PUT", "/files/"): self._take_by_link,
            ("GET", "/drop/"): self._show_drop,
            ("POST", "/drop/"): self._take_from_page,
            ("GET", "/delete/"): self._show_deletion,
            ("POST", "/delete/"): self._delete_by_link,
            ("DELETE", "/delete/"): self._delete_by_link,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request as ASGI has it."""
        path = scope["path"] if scope["type"] == "http" else ""
        by_link, by_caller = LINK_PATH.fullmatch(path), CALLER_PATH.fullmatch(path)
        if by_link is not None:
            place, subject = path.removesuffix(by_link["token"]), by_link["token"]
        elif by_caller is not None:
            place, subject = path.removesuffix(f"/{by_caller['request_id']}"), by_caller["request_id"] or ""
        else:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        try:
            if (method, place) == ("GET", "/files/"):
                await self._send_result(request, subject, receive, send)
                return
            response = await self._answer(request, method, place, subject)
        except OutpaintError as exc:
            response = _refusal(exc, is_page=place != "/files/" and _wants_page(request))
        except (LinkSpent, _Nowhere):
            response = _nowhere(is_page=place != "/files/")
        except Interrupted:
            words = "The file did not arrive completely, or took too long. Nothing was stored: send it again."
            response = JSONResponse({"error": words}, 408, _PRIVATE | {"connection": "close"})
        await response(scope, receive, send)

    async def _answer(self, request: Request, method: str, place: str, subject: str) -> Response:
        handle = self._routes.get((method, place))
        if handle is None:
            allowed = sorted(each for each, where in self._routes if where == place)
            return JSONResponse(
                {"error": f"Use {' or '.join(allowed)} here."}, 405, _PRIVATE | {"allow": ", ".join(allowed)}
            )
        return await handle(request, subject)

    async def _send_result(self, request: Request, token: str, receive: Receive, send: Send) -> None:
        claim = self._claim(token, Purpose.RESULT)
        service = await self._service()
        download = await self._threads.run(service.files.downloads.open, claim)
        if download is None:
            raise _Nowhere
        await send_file(request, receive, send, download, self._threads)

    async def _take(self, request: Request, _: str) -> Response:
        service = await self._service()
        return _taken(service, *await self._received(request, service, principal()))

    async def _take_by_link(self, request: Request, token: str) -> Response:
        claim = self._claim(token, Purpose.UPLOAD)
        service = await self._service()
        return _taken(service, *await self._received(request, service, claim.principal, claim.about))

    async def _take_from_page(self, request: Request, token: str) -> Response:
        """Take a file in from the page, where scripts do not run."""
        claim = self._claim(token, Purpose.UPLOAD)
        if not is_form(request):
            raise InvalidRequest("Choose a file first.")
        service = await self._service()
        name, _ = await self._received(request, service, claim.principal, claim.about)
        return _page(pages.notice_page("Sent", f"{name} is there. Go back to the chat and say so."), 201)

    async def _received(
        self, request: Request, service: OutpaintService, sender: Principal, link: str = ""
    ) -> tuple[str, int]:
        size_bytes = None if is_form(request) else announced_bytes(request)
        open_upload = partial(service.files.uploads.open, sender, link=link, size_bytes=size_bytes)
        with self._counted(sender.owner):
            return await receive(request, self._limits, open_upload, self._threads)

    @contextmanager
    def _counted(self, owner: str) -> Iterator[None]:
        """Count a file that a caller is sending."""
        if self._receiving[owner] >= _MOST_AT_ONCE:
            raise ServerBusy(
                f"You are already sending {_MOST_AT_ONCE} files. Send this one when one of them has arrived."
            )
        self._receiving[owner] += 1
        try:
            yield
        finally:
            self._receiving[owner] -= 1
            if not self._receiving[owner]:
                del self._receiving[owner]

    async def _delete_upload(self, request: Request, _: str) -> Response:
        service = await self._service()
        name = request.query_params.get("name", "")
        if not await self._threads.run(service.files.uploads.delete, principal(), name):
            return JSONResponse({"error": "You have sent no file of this name."}, 404, _PRIVATE)
        return JSONResponse({"message": "Deleted."}, headers=_PRIVATE)

    async def _delete_request(self, _: Request, request_id: str) -> Response:
        service = await self._service()
        message = await service.files.deleter.delete(principal(), request_id)
        return JSONResponse({"message": message}, headers=_PRIVATE)

    async def _show_drop(self, _: Request, token: str) -> Response:
        claim = self._claim(token, Purpose.UPLOAD)
        service = await self._service()
        if await self._threads.run(service.files.uploads.is_spent, claim.principal, claim.about):
            raise LinkSpent
        return _page(pages.drop_page(until=claim.expires))

    async def _show_deletion(self, _: Request, token: str) -> Response:
        claim = self._claim(token, Purpose.DELETION)
        service = await self._service()
        await service.status(claim.principal, claim.about)
        return _page(pages.deletion_page(claim.about))

    async def _delete_by_link(self, request: Request, token: str) -> Response:
        claim = self._claim(token, Purpose.DELETION)
        service = await self._service()
        message = await service.files.deleter.delete(claim.principal, claim.about)
        if request.method == "DELETE":
            return JSONResponse({"message": message}, headers=_PRIVATE)
        return _page(pages.notice_page("Deleted", message))

    def _claim(self, token: str, purpose: Purpose) -> Claim:
        claim = self._links.read(token, purpose)
        if claim is None:
            raise _Nowhere
        return claim


class _Nowhere(Exception):
    """A link opens nothing."""


def _taken(service: OutpaintService, name: str, size_bytes: int) -> Response:
    message = (
        f"Pass {name} as audio to submit_outpaint or analyze_audio. {service.files.uploads.stored}".strip()
    )
    return JSONResponse({"audio": name, "size_bytes": size_bytes, "message": message}, 201, _PRIVATE)


def _refusal(error: OutpaintError, *, is_page: bool) -> Response:
    status = next((code for kind, code in _STATUSES.items() if isinstance(error, kind)), 409)
    words = explained(error, is_remote=True)  # by a link it may be anybody
    if is_page:
        return _page(pages.notice_page("That did not work", words), status)
    busy = {"retry-after": "5"} if status == 503 else {}  # noqa: PLR2004 - busy, or stopping
    return JSONResponse({"error": words}, status, _PRIVATE | busy)


def _nowhere(*, is_page: bool) -> Response:
    """Answer whatever is wrong with a link in the same words."""
    if is_page:
        return _page(pages.notice_page("This link does not work", _NO_LINK), 404)
    return JSONResponse({"error": _NO_LINK}, 404, _PRIVATE)


def _wants_page(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")


def _page(content: str, status: int = 200) -> Response:
    policy = {"content-security-policy": pages.content_security_policy()}
    return HTMLResponse(content, status, _PRIVATE | policy)
