"""The settings, read once at start-up, and the folders that they open to whom."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

from outpaint_mcp.config import environment
from outpaint_mcp.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from outpaint_mcp.principals import Principal

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
LogFormat = Literal["text", "json"]

_RETENTION_DAYS = 30
_MIB = 1024 * 1024
_MAX_UPLOAD_MIB = 2048
"""As much as is downloaded from a link: more than the longest source there is."""
_UPLOAD_QUOTA_MIB = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """The folders that are open to a caller.

    Attributes:
        input_dirs: that sources may be read from; always holds the two below.
        output_dir: for extended files; created at the first delivery.
        upload_dir: for what they send; created at the first upload.
        export_dirs: others that a file may be saved in by name.
    """

    input_dirs: tuple[Path, ...]
    output_dir: Path
    upload_dir: Path
    export_dirs: tuple[Path, ...] = ()


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
        shared_dirs: those input folders that were named, rather than the defaults: they are open to remote callers.
        data_dir: folder of the journal, the jobs and their working files; shared by all servers
            of this user at the same time.
        log_level: least severe level that is logged to stderr.
        log_format: in which form.
        provider: who carries new requests out; `providers.registry.check_provider` knows whether there is one of
            that name.
        token: RunComfy's; a secret.
        runcomfy_base: where its model API is, `/v1` included, without a slash at the end.
        upload: `s3://`, `gs://` or `az://` URL of the place where local files are put for a hosted
            model; None for nowhere.
        max_cost_usd: the most that one request may cost; None for no limit.
        max_day_usd: the most that one caller's requests may cost within 24 hours; likewise.
        retention_days: how long remote callers' results and uploads are stored.
        max_upload_bytes: the size of one file that a caller sends.
        upload_quota_bytes: of all that a remote caller has sent.
        allowance: of each caller over HTTP.
    """

    input_dirs: tuple[Path, ...]
    output_dir: Path
    data_dir: Path
    export_dirs: tuple[Path, ...] = ()
    shared_dirs: tuple[Path, ...] = ()
    log_level: LogLevel = "WARNING"
    log_format: LogFormat = "text"
    provider: str = "local"
    token: str | None = field(default=None, repr=False)
    runcomfy_base: str = environment.RUNCOMFY_BASE
    upload: str | None = None
    max_cost_usd: float | None = None
    max_day_usd: float | None = None
    retention_days: float = _RETENTION_DAYS
    max_upload_bytes: int = _MAX_UPLOAD_MIB * _MIB
    upload_quota_bytes: int = _UPLOAD_QUOTA_MIB * _MIB
    allowance: Allowance = _USUAL

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Settings:
        """Read the settings from the environment; an empty or unsubstituted variable is unset.

        Raises:
            ConfigError: a value cannot be used; the message names the variable.
        """
        token = environment.token_of(env)
        provider = environment.variable(env, "OUTPAINT_PROVIDER") or "auto"
        if provider == "auto":
            provider = "local" if token is None else "runcomfy"
        level = (environment.variable(env, "OUTPAINT_LOG_LEVEL") or "WARNING").upper()
        if level not in get_args(LogLevel):
            raise ConfigError(f"OUTPAINT_LOG_LEVEL is {level!r}; use one of {', '.join(get_args(LogLevel))}.")
        log_format = (environment.variable(env, "OUTPAINT_LOG_FORMAT") or "text").lower()
        if log_format not in get_args(LogFormat):
            raise ConfigError(
                f"OUTPAINT_LOG_FORMAT is {log_format!r}; use one of {', '.join(get_args(LogFormat))}."
            )
        output_dir = environment.folder(env, "OUTPAINT_OUTPUT_DIR") or environment.music_dir() / "Outpaint"
        named = environment.folders(env, "OUTPAINT_INPUT_DIRS")
        return cls(
            input_dirs=(*(named or environment.default_input_dirs()), output_dir),
            shared_dirs=named,
            output_dir=output_dir,
            export_dirs=environment.folders(env, "OUTPAINT_EXPORT_DIRS"),
            data_dir=environment.folder(env, "OUTPAINT_DATA_DIR") or environment.default_data_dir(),
            log_level=level,  # type: ignore[arg-type]  # checked against the literal above
            log_format=log_format,  # type: ignore[arg-type]  # likewise
            provider=provider,
            token=token,
            runcomfy_base=environment.base_of(env),
            upload=environment.upload_of(env),
            max_cost_usd=environment.dollars(env, "OUTPAINT_MAX_COST_USD"),
            max_day_usd=environment.dollars(env, "OUTPAINT_MAX_DAY_USD"),
            retention_days=environment.amount(env, "OUTPAINT_RETENTION_DAYS", _RETENTION_DAYS, "days"),
            max_upload_bytes=_mebibytes(env, "OUTPAINT_MAX_UPLOAD_MIB", _MAX_UPLOAD_MIB),
            upload_quota_bytes=_mebibytes(env, "OUTPAINT_UPLOAD_QUOTA_MIB", _UPLOAD_QUOTA_MIB),
            allowance=Allowance(
                open_jobs=environment.count(env, "OUTPAINT_MAX_OPEN_JOBS", _USUAL.open_jobs),
                submissions_per_hour=environment.count(
                    env, "OUTPAINT_MAX_SUBMISSIONS_PER_HOUR", _USUAL.submissions_per_hour
                ),
            ),
        )

    def check_callers_apart(self) -> None:
        """Check that no caller can read what is another's.

        Raises:
            ConfigError: a folder that is open to all of them holds what each of them owns, or the reverse.
        """
        homes = self._homes().resolve()
        for shared in self.shared_dirs:
            place = shared.resolve()
            if homes.is_relative_to(place) or place.is_relative_to(homes):
                raise ConfigError(
                    f"{shared} is in OUTPAINT_INPUT_DIRS, which every caller may read, but holds what is one caller's,"
                    f" in {self._homes()}. Set OUTPAINT_DATA_DIR or OUTPAINT_INPUT_DIRS to another folder."
                )

    def reach_of(self, principal: Principal) -> Reach:
        """Return the folders that are open to a caller."""
        if not principal.is_remote:
            return Reach(
                input_dirs=self.input_dirs,
                output_dir=self.output_dir,
                upload_dir=self.output_dir,
                export_dirs=self.export_dirs,
            )
        output_dir = self.output_dir_of(principal.owner)
        upload_dir = self._home_of(principal.owner) / "uploads"
        return Reach(
            input_dirs=(upload_dir, output_dir, *self.shared_dirs),  # their own files go first
            output_dir=output_dir,
            upload_dir=upload_dir,
        )

    def output_dir_of(self, owner: str) -> Path:
        """Return the folder for the extended files of a `Principal.owner`."""
        return self._home_of(owner) / "results" if owner else self.output_dir

    def output_dirs(self) -> list[Path]:
        """Return everybody's folders for extended files."""
        return [self.output_dir, *self._homes().glob("*/results")]

    def upload_dirs(self) -> list[Path]:
        """Return every remote caller's folder for what they send."""
        return [*self._homes().glob("*/uploads")]

    def analyses_folder(self, owner: str) -> Path:
        """Return the folder for what was measured for a `Principal.owner`."""
        return (self._home_of(owner) if owner else self.data_dir) / "analyses"

    def analyses_folders(self) -> list[Path]:
        """Return everybody's folders for what was measured."""
        return [self.data_dir / "analyses", *self._homes().glob("*/analyses")]

    def _home_of(self, owner: str) -> Path:
        return self._homes() / owner

    def _homes(self) -> Path:
        return self.data_dir / "callers"


def _mebibytes(env: Mapping[str, str], name: str, default: int) -> int:
    return round(environment.amount(env, name, default, "MiB") * _MIB)
