"""The few pages that a person sees: one to send a file by, one to delete a request by; they load nothing."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from functools import cache
from html import escape
from pathlib import Path

_FOLDER = Path(__file__).parent


def drop_page(*, until: str) -> str:
    """Return the page that takes one file; `until` says when its link ends."""
    return _page("Send a recording", "drop.html", script="drop.js", until=until)


def deletion_page(request_id: str) -> str:
    """Return the page that asks before a request is deleted."""
    return _page("Delete a result", "delete.html", request=request_id)


def notice_page(title: str, status: str) -> str:
    """Return a page that only says something."""
    return _page(title, "notice.html", status=status)


@cache
def content_security_policy() -> str:
    """Return what the pages may do: run their own script and style, and talk to where they come from."""
    script, style = (_digest(_read(each)) for each in ("drop.js", "page.css"))
    return (
        f"default-src 'none'; script-src '{script}'; style-src '{style}'; connect-src 'self'; form-action 'self';"
        " base-uri 'none'; frame-ancestors 'none'"
    )


def _page(title: str, main: str, *, script: str = "", **texts: str) -> str:
    safe = {name: escape(text) for name, text in texts.items()}
    return _filled(
        _read("page.html"),
        title=title,
        style=_read("page.css"),
        script=_read(script) if script else "",
        main=_filled(_read(main), **safe),
    )


def _filled(template: str, **texts: str) -> str:
    """Fill a template in; what strangers may have written comes last, so that nothing in it is taken for a place."""
    for name, text in texts.items():
        template = template.replace(f"{{{name}}}", text)
    return template


@cache
def _read(name: str) -> str:
    return (_FOLDER / name).read_text("utf-8")


def _digest(text: str) -> str:
    return f"sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
