"""How the server is reached over HTTP, and how it knows who calls."""

from __future__ import annotations

import re
from base64 import b64decode
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from outpaint_mcp.config.environment import count, host_of, is_loopback, variable
from outpaint_mcp.errors import ConfigError
from outpaint_mcp.server.http.api_keys import VARIABLE, ApiKeys

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PATH = "/mcp"
CALLER_PATH = re.compile(r"/files|/requests/(?P<request_id>[^/]+)")
"""Files of callers, who have to be known."""
LINK_PATH = re.compile(r"/(?:files|drop|delete)/(?P<token>[^/]+)")
"""What a link opens to whoever has it."""

# The only ones that a web page cannot have a name of its own for: 127.0.0.2 is as local, but open to it.
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "[::1]")
LOOPBACK_ORIGINS = tuple(f"http://{host}:*" for host in LOOPBACK_HOSTS)

_NAME = r"(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])"
_HOST = re.compile(rf"{_NAME}(?::\d{{1,5}})?")
_ORIGIN = re.compile(rf"https?://{_NAME}(?::\d{{1,5}}|:\*)?")
# What may stand between quotation marks in a header.
_URL = re.compile(r"[\w:/.~%@\[\]!$&'()*+,;=-]+", re.ASCII)
_MOST_SCOPE_CHARACTERS = 100
_LEAST_KEY_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth:
    """Whose access tokens are accepted.

    Attributes:
        issuer: the authorization server, as `iss` has it.
        audience: what `aud` has to have; None for the URL of MCP.
        jwks_url: where its keys are; None where its metadata says so.
        scopes: all of them are needed.
    """

    issuer: str
    audience: str | None = None
    jwks_url: str | None = None
    scopes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """How the server is reached over HTTP, and by whom.

    Attributes:
        hosts: what the Host header may be, in small letters; one without a port stands for it with any.
        origins: what the Origin header may be, where there is one; `:*` stands for any port.
        public_url: what callers reach the server by, without a slash at the end.
        secret: what the person at this machine shows where nobody else can call; None lets in all who can connect.
        keys: those of callers; None for none.
        oauth: the issuer of callers' tokens; None for none.
        link_key: what links to files are signed with; None for one that the server makes itself.
        requests_per_minute: how often each caller may ask, and each address that shows no key.
    """

    hosts: tuple[str, ...] = LOOPBACK_HOSTS
    origins: tuple[str, ...] = LOOPBACK_ORIGINS
    public_url: str = ""
    secret: str | None = field(default=None, repr=False)
    keys: ApiKeys | None = None
    oauth: OAuth | None = None
    link_key: bytes | None = field(default=None, repr=False)
    requests_per_minute: int = 120

    @property
    def knows_callers(self) -> bool:
        """Whether each caller is somebody; otherwise all of them are the person at this machine."""
        return self.keys is not None or self.oauth is not None

    @property
    def names_origins(self) -> bool:
        """Whether web pages of others than this machine may call."""
        return self.origins != LOOPBACK_ORIGINS

    @property
    def mcp_url(self) -> str:
        """The URL that a client is given."""
        return self.public_url + PATH

    def named_after(self, address: str, port: int) -> HttpSettings:
        """Return these with a public URL, if there is none: that of the first name, or of where it listens."""
        name = f"[{address}]" if ":" in address else address
        if self.hosts != LOOPBACK_HOSTS:
            name = self.hosts[0]
        here = f"http://{name}" if re.search(r":\d+\Z", name) else f"http://{name}:{port}"
        return replace(self, public_url=self.public_url or here)

    @classmethod
    def from_env(
        cls,
        env: Mapping[str, str],
        *,
        host: str = "127.0.0.1",
        hosts: Sequence[str] = (),
        origins: Sequence[str] = (),
        no_key: bool = False,
    ) -> HttpSettings:
        """Read the settings from the environment and the command line.

        Args:
            env: the environment.
            host: the address to listen on.
            hosts: what callers call the server by; needed where it listens for others than this machine.
            origins: the web pages that may call it; needed likewise.
            no_key: ask for none.

        Raises:
            ConfigError: a value cannot be used, or strangers could call.
        """
        text = variable(env, VARIABLE)
        keys = None if text is None else ApiKeys(text)
        settings = cls(
            hosts=tuple(_checked(each, _HOST, "--allow-host") for each in hosts) or LOOPBACK_HOSTS,
            origins=tuple(_checked(each, _ORIGIN, "--allow-origin") for each in origins) or LOOPBACK_ORIGINS,
            public_url=_url(env, "OUTPAINT_PUBLIC_URL", may_be_plain=True) or "",
            keys=keys,
            oauth=_oauth(env),
            link_key=_link_key(env),
            requests_per_minute=count(env, "OUTPAINT_MAX_REQUESTS_PER_MINUTE", 120),
        )
        if no_key and settings.knows_callers:
            raise ConfigError(
                f"--no-key lets everybody in, but {VARIABLE} or OUTPAINT_OAUTH_ISSUER says who may call. Leave out"
                " --no-key, or take the variable away."
            )
        _check_reach(settings, host, has_hosts=bool(hosts), has_origins=bool(origins))
        if keys is not None and not keys and settings.oauth is None:
            raise ConfigError(
                f"{VARIABLE} has no key, so nobody could call: outpaint-mcp keys add NAME makes one."
            )
        return settings


def _check_reach(settings: HttpSettings, host: str, *, has_hosts: bool, has_origins: bool) -> None:
    """Check that nobody else than the person reaches a server that does not know who calls.

    Raises:
        ConfigError: they could.
    """
    is_shared = host not in LOOPBACK or has_hosts or has_origins
    if not is_shared:
        return
    missing = [
        words
        for words, is_there in (
            ("--allow-host with the name that callers reach the server by", has_hosts),
            ("--allow-origin with each web origin that may call it, such as https://NAME", has_origins),
            (
                f"a way to know callers, {VARIABLE} (outpaint-mcp keys add NAME makes a key) or OUTPAINT_OAUTH_ISSUER",
                settings.knows_callers,
            ),
        )
        if not is_there
    ]
    if missing:
        what = f"--host {host} is" if host not in LOOPBACK else "--allow-host and --allow-origin are"
        raise ConfigError(
            f"{what} not allowed without {'; '.join(missing)}. For yourself alone, use a loopback address"
            " (127.0.0.1, ::1 or localhost) and none of these."
        )
    if settings.oauth is not None and not settings.public_url:
        raise ConfigError(
            "OUTPAINT_OAUTH_ISSUER needs OUTPAINT_PUBLIC_URL, such as https://outpaint.example.org: clients ask for"
            " tokens for that address."
        )


def _link_key(env: Mapping[str, str]) -> bytes | None:
    """Read the key of links, as hexadecimal digits, base64 or plain text.

    Raises:
        ConfigError: it is too short. The text leaves it out.
    """
    text = variable(env, "OUTPAINT_SECRET_KEY")
    if text is None:
        return None
    for decode in (bytes.fromhex, _from_base64, str.encode):
        with suppress(ValueError):
            if len(key := decode(text)) >= _LEAST_KEY_BYTES:
                return key
    raise ConfigError(
        f"OUTPAINT_SECRET_KEY is shorter than {_LEAST_KEY_BYTES} bytes, so that links could be forged: use what"
        " `openssl rand -base64 32` prints, the same on every server behind one address."
    )


def _from_base64(text: str) -> bytes:
    return b64decode(text.translate(str.maketrans("-_", "+/")), validate=True)


def _checked(value: str, form: re.Pattern[str], option: str) -> str:
    value = value.strip().lower()
    if form.fullmatch(value) is None:
        example = (
            "outpaint.example.org or 192.0.2.7:8000" if form is _HOST else "https://outpaint.example.org"
        )
        raise ConfigError(f"{option} {value!r} cannot be used: give one such as {example}, without a path.")
    return value


def _oauth(env: Mapping[str, str]) -> OAuth | None:
    issuer = _url(env, "OUTPAINT_OAUTH_ISSUER")
    others = ("OUTPAINT_OAUTH_AUDIENCE", "OUTPAINT_OAUTH_JWKS_URL", "OUTPAINT_OAUTH_SCOPES")
    if issuer is None:
        if alone := [name for name in others if variable(env, name)]:
            raise ConfigError(f"{alone[0]} means nothing without OUTPAINT_OAUTH_ISSUER: set that, too.")
        return None
    scopes = (variable(env, "OUTPAINT_OAUTH_SCOPES") or "").split()
    if not all(re.fullmatch(rf"[!#-\[\]-~]{{1,{_MOST_SCOPE_CHARACTERS}}}", each) for each in scopes):
        raise ConfigError("OUTPAINT_OAUTH_SCOPES has to be scopes with spaces between, in ASCII.")
    return OAuth(
        issuer=issuer,
        audience=variable(env, "OUTPAINT_OAUTH_AUDIENCE"),
        jwks_url=_url(env, "OUTPAINT_OAUTH_JWKS_URL"),
        scopes=tuple(scopes),
    )


def _url(env: Mapping[str, str], name: str, *, may_be_plain: bool = False) -> str | None:
    """Read a URL; plain http on this machine only, unless it is where callers reach us.

    Raises:
        ConfigError: it is none.
    """
    url = variable(env, name)
    if url is None:
        return None
    host = host_of(url)
    if host is None or not _URL.fullmatch(url):
        raise ConfigError(f"{name} is not a URL such as https://host/path.")
    if urlsplit(url).scheme == "http" and not may_be_plain and not is_loopback(host):
        raise ConfigError(f"{name} is plain http, by which others could let themselves in: use https.")
    return url.rstrip("/") if may_be_plain else url
