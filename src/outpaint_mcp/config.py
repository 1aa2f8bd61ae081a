"""What the environment settles, read once at start-up."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from outpaint_mcp.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]

# Some hosts pass `${user_config.x}` on unsubstituted when the person left it blank.
_UNSUBSTITUTED = re.compile(r"\$\{[^}]*\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The server's settings.

    Attributes:
        input_dirs: folders that sources may be read from; always holds `output_dir`.
        output_dir: folder that longer files are put into; made at the first delivery.
        data_dir: folder of the journal, the jobs and their working files; shared by all servers
            of this user at the same time.
        log_level: least severe level that is logged to stderr.
    """

    input_dirs: tuple[Path, ...]
    output_dir: Path
    data_dir: Path
    log_level: LogLevel = "WARNING"

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Settings:
        """Read the settings from `OUTPAINT_*` variables; an empty or unsubstituted one is unset.

        Raises:
            ConfigError: a value cannot be used; the message names the variable.
        """
        provider = _get(env, "OUTPAINT_PROVIDER") or "auto"
        if provider not in {"auto", "local"}:
            raise ConfigError(f"OUTPAINT_PROVIDER is {provider!r}; this version offers: auto, local.")
        level = (_get(env, "OUTPAINT_LOG_LEVEL") or "WARNING").upper()
        if level not in get_args(LogLevel):
            raise ConfigError(f"OUTPAINT_LOG_LEVEL is {level!r}; use one of {', '.join(get_args(LogLevel))}.")
        output_dir = _folder(env, "OUTPAINT_OUTPUT_DIR") or _music_dir() / "Outpaint"
        return cls(
            input_dirs=(*(_folders(env, "OUTPAINT_INPUT_DIRS") or _default_input_dirs()), output_dir),
            output_dir=output_dir,
            data_dir=_folder(env, "OUTPAINT_DATA_DIR") or _default_data_dir(),
            log_level=level,  # type: ignore[arg-type]  # checked against the literal above
        )


def _get(env: Mapping[str, str], name: str) -> str | None:
    value = env.get(name, "").strip()
    return None if not value or _UNSUBSTITUTED.fullmatch(value) else value


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
        raise ConfigError(f"{name} is {value!r}, whose home folder is unknown; give a full path.") from exc
    if not path.is_absolute():
        # A host starts its servers in any folder it likes, often `/`.
        raise ConfigError(f"{name} is {value!r}; give a full path, since hosts start servers in any folder.")
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
    # A desktop that has one of these not names the home folder instead, and with it every secret there.
    return tuple(folder for folder in folders if not Path.home().is_relative_to(folder))


def _music_dir() -> Path:
    from platformdirs import user_music_path  # noqa: PLC0415 - only where a default is needed

    return user_music_path()


def _default_data_dir() -> Path:
    from platformdirs import user_data_path  # noqa: PLC0415 - only where a default is needed

    return user_data_path("outpaint-mcp", appauthor=False)
