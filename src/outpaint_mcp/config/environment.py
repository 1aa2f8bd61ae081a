"""What stands in the environment, as it is read at start-up: an empty or unsubstituted variable is unset."""

from __future__ import annotations

import json
import math
import os
import re
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from outpaint_mcp.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

RUNCOMFY_BASE = "https://model-api.runcomfy.net/v1"

# Those of the vendor's own clients, in their order.
_TOKEN_VARIABLES = ("RUNCOMFY_API_TOKEN", "RUNCOMFY_TOKEN", "RUNCOMFY_API_KEY")
_TOKEN_KEYS = ("access_token", "token")
_TOKEN_FILE = "token.json"  # noqa: S105 - a file's name
_TOKEN_FILE_CHARACTERS = 65_536

_UPLOAD = re.compile(
    r"(?P<scheme>s3|gs|az)://(?P<bucket>[A-Za-z0-9][A-Za-z0-9._-]*)(?P<prefix>(/(?!\.\.?(/|$))[A-Za-z0-9._=-]*)*)"
)

_COUNT_DIGITS = 10

# Some hosts pass `${user_config.x}` on unsubstituted when the person left it blank.
_UNSUBSTITUTED = re.compile(r"\$\{[^}]*\}")


def variable(env: Mapping[str, str], name: str) -> str | None:
    """Read a variable; None where it is unset."""
    value = env.get(name, "").strip()
    return None if not value or _UNSUBSTITUTED.fullmatch(value) else value


def token_of(env: Mapping[str, str]) -> str | None:
    """Find RunComfy's token where its own clients do: in the environment, then in their file."""
    for name in _TOKEN_VARIABLES:
        if token := variable(env, name):
            return token
    own, above = variable(env, "RUNCOMFY_CONFIG_DIR"), variable(env, "XDG_CONFIG_HOME")
    try:
        place = Path(own).expanduser() if own else Path(above or "~/.config").expanduser() / "runcomfy"
        stored = json.loads(_read(place / _TOKEN_FILE))
    except (OSError, ValueError, RuntimeError):  # there is none, or it cannot be read; no home folder
        return None
    found = (stored.get(key) for key in _TOKEN_KEYS) if isinstance(stored, dict) else ()
    return next((token.strip() for token in found if isinstance(token, str) and token.strip()), None)


def _read(path: Path) -> str:
    """Read a small file; a pipe would block, and a device never end.

    Raises:
        OSError: it is not there, or no regular file.
    """
    if not path.is_file():
        raise FileNotFoundError(path)
    with path.open(encoding="utf-8") as file:
        return file.read(_TOKEN_FILE_CHARACTERS)


def base_of(env: Mapping[str, str]) -> str:
    """Read where RunComfy's model API is."""
    return parse_base(variable(env, "RUNCOMFY_MODEL_API_BASE") or RUNCOMFY_BASE)


def parse_base(url: str) -> str:
    """Return a URL that the token may be sent to, without slashes at its end: over TLS, or not off this machine.

    Raises:
        ConfigError: it is none. The text leaves the value out: people put keys into it.
    """
    base = url.rstrip("/")
    host = host_of(base)
    if host is None:
        raise ConfigError("RUNCOMFY_MODEL_API_BASE is not a URL such as https://host/v1.")
    if urlsplit(base).scheme == "http" and not is_loopback(host):
        raise ConfigError(
            f"RUNCOMFY_MODEL_API_BASE is plain http to {host}, which would expose the token: use https."
        )
    return base


def host_of(url: str) -> str | None:
    """Return the host of an http or https URL; None where that has credentials, a query or a fragment, or is none."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return None
    is_plain = not (parts.query or parts.fragment or "@" in parts.netloc)
    return host if host and is_plain and parts.scheme in {"https", "http"} else None


def is_loopback(host: str) -> bool:
    """Whether a host is this machine by its looks."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def parse_upload(url: str) -> tuple[str, str, str]:
    """Take `OUTPAINT_UPLOAD` apart: scheme, bucket, and the prefix without slashes around it.

    Raises:
        ConfigError: it names no bucket. The text leaves the value out: people put keys into it.
    """
    match = _UPLOAD.fullmatch(url)
    if match is None:
        raise ConfigError(
            "OUTPAINT_UPLOAD has to be s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX, with letters,"
            " digits and ._-= only. Put keys and a custom endpoint into the cloud's own variables, such as"
            " AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL."
        )
    return match["scheme"], match["bucket"], "/".join(filter(None, match["prefix"].split("/")))


def upload_of(env: Mapping[str, str]) -> str | None:
    """Read where local files are put for a hosted model; None for nowhere."""
    url = variable(env, "OUTPAINT_UPLOAD")
    if url is not None:
        parse_upload(url)
    return url


def dollars(env: Mapping[str, str], name: str) -> float | None:
    """Read an amount of US dollars; None where it is unset."""
    text = variable(env, name)
    return (
        None
        if text is None
        else _number(name, text.removeprefix("$"), "a number of US dollars, such as 0.25")
    )


def amount(env: Mapping[str, str], name: str, default: float, unit: str) -> float:
    """Read a number above 0 of some unit."""
    text = variable(env, name)
    wanted = f"a number of {unit} above 0, such as {default:g}"
    found = default if text is None else _number(name, text, wanted)
    if not found:
        raise ConfigError(f"{name} is 0; give {wanted}.")
    return found


def _number(name: str, text: str, wanted: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise ConfigError(f"{name} is {text!r}; give {wanted}.")
    return number


def count(env: Mapping[str, str], name: str, default: int) -> int:
    """Read a limit.

    Raises:
        ConfigError: it is no whole number above 0.
    """
    text = variable(env, name) or str(default)
    if not (text.isascii() and text.isdigit() and len(text) < _COUNT_DIGITS and int(text)):
        raise ConfigError(f"{name} is {text!r}; give a whole number from 1 on, such as {default}.")
    return int(text)


def folder(env: Mapping[str, str], name: str) -> Path | None:
    """Read a folder; None where it is unset."""
    value = variable(env, name)
    return None if value is None else _absolute(value, name)


def folders(env: Mapping[str, str], name: str) -> tuple[Path, ...]:
    """Read folders; none where it is unset."""
    parts = (part.strip() for part in (variable(env, name) or "").split(os.pathsep))
    return tuple(_absolute(part, name) for part in parts if part and not _UNSUBSTITUTED.fullmatch(part))


def _absolute(value: str, name: str) -> Path:
    try:
        path = Path(value).expanduser()
    except RuntimeError as exc:
        raise ConfigError(f"{name} is {value!r}, but that home folder is unknown; give a full path.") from exc
    if not path.is_absolute():
        # A host starts its servers in any folder it likes, often `/`.
        raise ConfigError(
            f"{name} is {value!r}; give a full path, because hosts start servers in any folder."
        )
    return path


def default_input_dirs() -> tuple[Path, ...]:
    """Return the folders where people have their music."""
    from platformdirs import PlatformDirs  # noqa: PLC0415 - only where a default is needed

    dirs = PlatformDirs()
    folders = (
        dirs.user_music_path,
        dirs.user_downloads_path,
        dirs.user_desktop_path,
        dirs.user_documents_path,
    )
    # A desktop that lacks one of these names the home folder instead, and with it every secret there.
    return tuple(folder for folder in folders if not Path.home().is_relative_to(folder))


def music_dir() -> Path:
    """Return the person's folder for music."""
    from platformdirs import user_music_path  # noqa: PLC0415 - only where a default is needed

    return user_music_path()


def default_data_dir() -> Path:
    """Return the folder for what programs store."""
    from platformdirs import user_data_path  # noqa: PLC0415 - only where a default is needed

    return user_data_path("outpaint-mcp", appauthor=False)
