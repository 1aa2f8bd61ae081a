"""Links and the addresses behind them: what may be asked for, and where it may lie."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import quote, urlsplit

from outpaint_mcp.errors import InvalidRequest, SourceNotAllowed
from outpaint_mcp.sources.names import quoted

_MAX_CHARACTERS = 5_000
"""Pre-signed links have 3,000 at most; the HTTP client takes 65,536 once all are percent-encoded."""

_AUTHORITY = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<name>[^\s:@%\[\]]+))(?::\d{0,5})?")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_NEVER_IN_A_LINK = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\\]")
"""Control characters, half characters, and the backslash that browsers take for a slash."""

_URL_CHARACTERS = "%:/?[]@!$&'()*+,;=-._~"
"""What stands in a URL as it is (RFC 3986); `%` too, so that nothing is encoded twice."""

_PORTS = {"https": 443, "http": 80}

_PRIVATE_NAMES = (".localhost", ".local", ".internal", ".home.arpa", ".lan")

_PUBLIC_IPV6 = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")

_NOT_PUBLIC_IPV4 = (
    IPv4Network("100.64.0.0/10"),  # carrier-grade NAT, and Alibaba's metadata service
    IPv4Network("168.63.129.16/32"),  # Azure's host, public in form only
    IPv4Network("192.0.0.0/24"),  # protocol assignments, and Oracle's metadata service
    IPv4Network("192.88.99.0/24"),  # 6to4 relays
)
_NOT_PUBLIC_IPV6 = (
    IPv6Network("2001::/23"),  # protocol assignments, Teredo among them
    IPv6Network("2001:db8::/32"),  # documentation
    IPv6Network("2002::/16"),  # 6to4, which leads to whatever IPv4 address it names
    IPv6Network("3fff::/20"),  # documentation
)


@dataclass(frozen=True, slots=True, repr=False)
class Link:
    """A URL taken apart; what is checked is what is connected to.

    Attributes:
        scheme: https, or http where `DownloadPolicy` trust the host with it.
        host: an address without brackets, or a name in ASCII, lower case, without a trailing dot.
        port: 1 to 65535.
        target: path and query, percent-encoded, beginning with a slash.
    """

    host: str
    port: int
    target: str
    scheme: str = "https"

    @property
    def authority(self) -> str:
        """Host and port as the Host header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Scheme, host and port, in one normal form."""
        return f"{self.scheme}://{self.authority}"

    @property
    def url(self) -> str:
        """The link in its one normal form, all ASCII and without a fragment."""
        return f"{self.origin}{self.target}"

    def at(self, address: IPv4Address | IPv6Address) -> str:
        """The same URL with an address in the place of the host."""
        return Link(str(address), self.port, self.target, self.scheme).url


@dataclass(frozen=True, slots=True)
class DownloadPolicy:
    """Where a download may lead.

    Attributes:
        domains: names that a host has to be, or to be under; without any, every public host will do.
        trusted: beginnings of URLs, scheme and host and port, that the operator has named: whatever their
            address, and over plain http where they say so.
    """

    domains: tuple[str, ...] = ()
    trusted: tuple[str, ...] = ()

    def trust(self, link: Link) -> bool:
        """Whether the operator has named the link's host."""
        return link.origin in self.trusted

    def admit(self, link: Link) -> bool:
        """Whether the link's host is one of those that may be asked."""
        named = not self.domains or any(f".{link.host}".endswith(f".{domain}") for domain in self.domains)
        return named or self.trust(link)


ANYWHERE = DownloadPolicy()
"""Every host on the public internet, over https."""


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL, in the normal form that `Link.origin` has, as far as it is well-formed.

    Raises:
        ValueError: it is no URL at all.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").removesuffix(".")
    port = "" if parts.port in {None, _PORTS.get(parts.scheme)} else f":{parts.port}"
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}"


def parse_link(url: str, policy: DownloadPolicy = ANYWHERE) -> Link:
    """Take a URL apart, strictly: two parsers that disagree on the host are a way around checks.

    Raises:
        InvalidRequest: not a well-formed https URL, or its host is a number in disguise.
        SourceNotAllowed: plain http, or a user name in front of the host.
    """
    malformed = InvalidRequest(
        f"{quoted(url)} is not a well-formed link: give it in full, as https://host/path."
    )
    try:
        parts = urlsplit(url)
        port = _PORTS.get(parts.scheme, 0) if parts.port is None else parts.port
    except ValueError as exc:
        raise malformed from exc
    if parts.scheme == "http" and origin_of(url) not in policy.trusted:
        raise SourceNotAllowed(f"{quoted(url)} is plain http, which anyone on the way can alter: use https.")
    if len(url) > _MAX_CHARACTERS or _NEVER_IN_A_LINK.search(url):
        raise malformed
    if "@" in parts.netloc:
        raise SourceNotAllowed(
            f"{quoted(url)} contains a user name or password: give a public or pre-signed link instead."
        )
    authority = _AUTHORITY.fullmatch(parts.netloc)
    host = _host(authority["ipv6"], authority["name"]) if authority else None
    if parts.scheme not in _PORTS or host is None or port == 0:
        raise malformed
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Link(host, port, quote(target, safe=_URL_CHARACTERS), parts.scheme)


def refuse_private_host(link: Link) -> None:
    """Refuse a host that is private by its looks; what its name resolves to is checked when it is fetched.

    Raises:
        SourceNotAllowed: a private address, or a name that only a local network knows.
    """
    address = _address(link.host)
    if address is None:
        private = "." not in link.host or link.host.endswith(_PRIVATE_NAMES)
    else:
        private = not is_public_address(address)
    if private:
        raise SourceNotAllowed(
            f"The host {link.host} belongs to a private network, from which nothing is downloaded: give a link on "
            "the public internet, or save the file and give its path."
        )


def is_public_address(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is on the public internet, its embedded IPv4 address too.

    After the IANA special-purpose registries; the standard library's `is_global` varies with its
    version, so the ranges that matter are named here as well.
    """
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public_address(address.ipv4_mapped)
        if address in _NAT64:
            return is_public_address(IPv4Address(int(address) & 0xFFFFFFFF))
        return address in _PUBLIC_IPV6 and address.is_global and not _within(address, _NOT_PUBLIC_IPV6)
    special = address.is_multicast or address.is_reserved or _within(address, _NOT_PUBLIC_IPV4)
    return address.is_global and not special


def _within(
    address: IPv4Address | IPv6Address, networks: tuple[IPv4Network, ...] | tuple[IPv6Network, ...]
) -> bool:
    return any(address in network for network in networks)


def _host(ipv6: str | None, name: str | None) -> str | None:
    """The host in its normal form, or None where it is none."""
    if ipv6 is not None:
        address = _address(ipv6)
        return str(address) if isinstance(address, IPv6Address) else None
    host = _ascii((name or "").lower()).removesuffix(".")
    labels = host.split(".")
    if len(host) > 253 or not all(map(_LABEL.fullmatch, labels)):  # noqa: PLR2004  RFC 1035
        return None
    # `2130706433`, `0x7f.1` and `0177.0.0.1` are names to a parser and 127.0.0.1 to the C library
    if _NUMBER.fullmatch(labels[-1]) and _address(host) is None:
        return None
    return host


def _ascii(name: str) -> str:
    """An international name in its IDNA 2008 form; empty where it has none."""
    if name.isascii():
        return name
    import httpx  # noqa: PLC0415  costs a quarter of a second: loaded at first need

    try:
        return httpx.URL(f"https://{name}/").raw_host.decode("ascii")
    except httpx.InvalidURL:
        return ""


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
