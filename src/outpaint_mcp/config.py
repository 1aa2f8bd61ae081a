"""The settings in the environment, read once at start-up."""

from __future__ import annotations

import json
import math
import os
import re
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args
from urllib.parse import urlsplit

from outpaint_mcp.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """How much one of several callers may have; the person at this machine has no such limits.

    Attributes:
        open_jobs: takes that have not ended.
        submissions_per_hour: new requests within an hour.
    """

    open_jobs: int = 20
    submissions_per_hour: int = 60


_USUAL = Allowance()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The server's settings.

    Attributes:
        input_dirs: folders that sources may be read from; always holds `output_dir`.
        output_dir: folder for extended files; created at the first delivery.
        export_dirs: other folders that a file may be saved in by name.
        data_dir: folder of the journal, the jobs and their working files; shared by all servers
            of this user at the same time.
        log_level: least severe level that is logged to stderr.
        provider: who carries new requests out; `providers.registry.check_provider` knows whether there is one of
            that name.
        token: RunComfy's; a secret.
        runcomfy_base: where its model API is, `/v1` included, without a slash at the end.
        upload: `s3://`, `gs://` or `az://` URL of the place where local files are put for a hosted
            model; None for nowhere.
        max_cost_usd: the most that one request may cost, and over HTTP one caller's day; None for no limit.
        allowance: of each caller over HTTP.
    """

    input_dirs: tuple[Path, ...]
    output_dir: Path
    data_dir: Path
    export_dirs: tuple[Path, ...] = ()
    log_level: LogLevel = "WARNING"
    provider: str = "local"
    token: str | None = field(default=None, repr=False)
    runcomfy_base: str = RUNCOMFY_BASE
    upload: str | None = None
    max_cost_usd: float | None = None
    allowance: Allowance = _USUAL

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Settings:
        """Read the settings from the environment; an empty or unsubstituted variable is unset.

        Raises:
            ConfigError: a value cannot be used; the message names the variable.
        """
        token = _token(env)
        provider = _get(env, "OUTPAINT_PROVIDER") or "auto"
        if provider == "auto":
            provider = "local" if token is None else "runcomfy"
        level = (_get(env, "OUTPAINT_LOG_LEVEL") or "WARNING").upper()
        if level not in get_args(LogLevel):
            raise ConfigError(f"OUTPAINT_LOG_LEVEL is {level!r}; use one of {', '.join(get_args(LogLevel))}.")
        output_dir = _folder(env, "OUTPAINT_OUTPUT_DIR") or _music_dir() / "Outpaint"
        return cls(
            input_dirs=(*(_folders(env, "OUTPAINT_INPUT_DIRS") or _default_input_dirs()), output_dir),
            output_dir=output_dir,
            export_dirs=_folders(env, "OUTPAINT_EXPORT_DIRS"),
            data_dir=_folder(env, "OUTPAINT_DATA_DIR") or _default_data_dir(),
            log_level=level,  # type: ignore[arg-type]  # checked against the literal above
            provider=provider,
            token=token,
            runcomfy_base=_base(env),
            upload=_upload(env),
            max_cost_usd=_max_cost(env),
            allowance=Allowance(
                open_jobs=read_count(env, "OUTPAINT_MAX_OPEN_JOBS", _USUAL.open_jobs),
                submissions_per_hour=read_count(
                    env, "OUTPAINT_MAX_SUBMISSIONS_PER_HOUR", _USUAL.submissions_per_hour
                ),
            ),
        )


def _get(env: Mapping[str, str], name: str) -> str | None:
    value = env.get(name, "").strip()
    return None if not value or _UNSUBSTITUTED.fullmatch(value) else value


def _token(env: Mapping[str, str]) -> str | None:
    """Find RunComfy's token where its own clients do: in the environment, then in their file."""
    for name in _TOKEN_VARIABLES:
        if token := _get(env, name):
            return token
    own, above = _get(env, "RUNCOMFY_CONFIG_DIR"), _get(env, "XDG_CONFIG_HOME")
    try:
        folder = Path(own).expanduser() if own else Path(above or "~/.config").expanduser() / "runcomfy"
        stored = json.loads(_read(folder / _TOKEN_FILE))
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


def _base(env: Mapping[str, str]) -> str:
    return parse_base(_get(env, "RUNCOMFY_MODEL_API_BASE") or RUNCOMFY_BASE)


def parse_base(url: str) -> str:
    """Return a URL that the token may be sent to, without slashes at its end: over TLS, or not off this machine.

    Raises:
        ConfigError: it is none. The text leaves the value out: people put keys into it.
    """
    base = url.rstrip("/")
    try:
        parts = urlsplit(base)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    is_plain = bool(host) and not (parts.query or parts.fragment or "@" in parts.netloc)
    if not host or not is_plain or parts.scheme not in {"https", "http"}:
        raise ConfigError("RUNCOMFY_MODEL_API_BASE is not a URL such as https://host/v1.")
    if parts.scheme == "http" and not is_loopback(host):
        raise ConfigError(
            f"RUNCOMFY_MODEL_API_BASE is plain http to {host}, which would expose the token: use https."
        )
    return base


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


def _upload(env: Mapping[str, str]) -> str | None:
    url = _get(env, "OUTPAINT_UPLOAD")
    if url is not None:
        parse_upload(url)
    return url


def _max_cost(env: Mapping[str, str]) -> float | None:
    text = _get(env, "OUTPAINT_MAX_COST_USD")
    if text is None:
        return None
    try:
        most = float(text.removeprefix("$"))
    except ValueError:
        most = math.nan
    if not 0 <= most < math.inf:
        raise ConfigError(f"OUTPAINT_MAX_COST_USD is {text!r}; give a number of US dollars, such as 0.25.")
    return most


def read_count(env: Mapping[str, str], name: str, default: int) -> int:
    """Read a limit.

    Raises:
        ConfigError: it is no whole number above 0.
    """
    text = _get(env, name) or str(default)
    if not (text.isascii() and text.isdigit() and len(text) < _COUNT_DIGITS and int(text)):
        raise ConfigError(f"{name} is {text!r}; give a whole number from 1 on, such as {default}.")
    return int(text)


def _folder(env: Mapping[str, str], name: str) -> Path | None:
    value = _get(env, name)
    return None if value is None else _absolute(value, name)


def _folders(env: Mapping[str, str], name: str) -> tuple[Path, ...]:
    parts = (part.strip() for part in (_get(env, name) or "").split(os.pathsep))
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


def _default_input_dirs() -> tuple[Path, ...]:
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


def _music_dir() -> Path:
    from platformdirs import user_music_path  # noqa: PLC0415 - only where a default is needed

    return user_music_path()


def _default_data_dir() -> Path:
    from platformdirs import user_data_path  # noqa: PLC0415 - only where a default is needed

    return user_data_path("outpaint-mcp", appauthor=False)
