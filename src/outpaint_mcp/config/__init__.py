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
        provider: who carries new requests out; `providers.registry.check_provider` knows whether there is one of
            that name.
        token: RunComfy's; a secret.
        runcomfy_base: where its model API is, `/v1` included, without a slash at the end.
        upload: `s3://`, `gs://` or `az://` URL of the place where local files are put for a hosted
            model; None for nowhere.
        max_cost_usd: the most that one request may cost; None for no limit.
        max_day_usd: the most that one caller's requests may cost within 24 hours; likewise.
    """

    input_dirs: tuple[Path, ...]
    output_dir: Path
    data_dir: Path
    export_dirs: tuple[Path, ...] = ()
    shared_dirs: tuple[Path, ...] = ()
    log_level: LogLevel = "WARNING"
    provider: str = "local"
    token: str | None = field(default=None, repr=False)
    runcomfy_base: str = environment.RUNCOMFY_BASE
    upload: str | None = None
    max_cost_usd: float | None = None
    max_day_usd: float | None = None

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
        output_dir = environment.folder(env, "OUTPAINT_OUTPUT_DIR") or environment.music_dir() / "Outpaint"
        named = environment.folders(env, "OUTPAINT_INPUT_DIRS")
        return cls(
            input_dirs=(*(named or environment.default_input_dirs()), output_dir),
            shared_dirs=named,
            output_dir=output_dir,
            export_dirs=environment.folders(env, "OUTPAINT_EXPORT_DIRS"),
            data_dir=environment.folder(env, "OUTPAINT_DATA_DIR") or environment.default_data_dir(),
            log_level=level,  # type: ignore[arg-type]  # checked against the literal above
            provider=provider,
            token=token,
            runcomfy_base=environment.base_of(env),
            upload=environment.upload_of(env),
            max_cost_usd=environment.dollars(env, "OUTPAINT_MAX_COST_USD"),
            max_day_usd=environment.dollars(env, "OUTPAINT_MAX_DAY_USD"),
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
            input_dirs=(*self.shared_dirs, upload_dir, output_dir),
            output_dir=output_dir,
            upload_dir=upload_dir,
        )

    def output_dir_of(self, owner: str) -> Path:
        """Return the folder for the extended files of a `Principal.owner`."""
        return self._home_of(owner) / "results" if owner else self.output_dir

    def output_dirs(self) -> list[Path]:
        """Return everybody's folders for extended files."""
        return [self.output_dir, *self._homes().glob("*/results")]

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
