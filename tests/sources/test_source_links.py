"""Links, taken apart strictly, and which addresses are public."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from outpaint_mcp.errors import InvalidRequest
from outpaint_mcp.sources import is_public_address
from outpaint_mcp.sources.links import parse_link


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "151.101.1.63",
        "192.0.1.1",
        "2606:4700::6810:84e5",
        "2a00:1450:4001::200e",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",
    ],
)
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public_address(ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "10.1.2.3", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.0.1"),
        *("169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.88.99.1"),
        *("192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.251", "239.1.1.1"),
        *("240.0.0.1", "255.255.255.255", "168.63.129.16"),
        *("::", "::1", "::127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1"),
        *("64:ff9b::a9fe:a9fe", "64:ff9b:1::808:808", "100::1", "2001::1", "2001:0:4136:e378::1"),
        *("2001:10::1", "2001:db8::1", "2002:7f00:1::", "2002:808:808::1", "3fff::1", "4000::1", "5f00::1"),
        *("fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "ff0e::1"),
    ],
)
def test_special_addresses_are_not_public(address: str) -> None:
    assert not is_public_address(ip_address(address))


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("https://h.example", "https://h.example/"),
        ("HTTPS://H.Example.:443/A?b=C#d", "https://h.example/A?b=C"),
        ("https://h.example:8443?x", "https://h.example:8443/?x"),
        ("https://h.example:/x", "https://h.example/x"),
        ("https://h.example/my song ü.mp3", "https://h.example/my%20song%20%C3%BC.mp3"),
        ("https://h.example/a%2Fb%20c?sig=a%2Bb+c/==&x", "https://h.example/a%2Fb%20c?sig=a%2Bb+c/==&x"),
        ("https://h.example/a@b:c.mp3", "https://h.example/a@b:c.mp3"),
        ("https://faß.example/", "https://xn--fa-hia.example/"),
        ("https://bücher。example/", "https://xn--bcher-kva.example/"),
        ("https://my_bucket.s3.example/x", "https://my_bucket.s3.example/x"),
        ("https://[2606:4700:0::1]:8443/x", "https://[2606:4700::1]:8443/x"),
        ("https://8.8.8.8/x", "https://8.8.8.8/x"),
    ],
)
def test_a_link_has_one_normal_form(url: str, normal: str) -> None:
    assert parse_link(url).url == normal
    assert parse_link(normal).url == normal


@pytest.mark.parametrize(
    "url",
    [
        "https://",
        "https:///x",
        "https:x",
        "https://h..example/",
        "https://-h.example/",
        "https://" + "h" * 64 + ".example/",
        "https://" + "h." * 130 + "example/",
        "https://h.example:0/",
        "https://h.example:99999/",
        "https://h.example:80a/",
        "https://h example/",
        "https://h.example/\nHost: x",
        "https://h.example\\@x.example/",
        "https://127.0.0.1\\.x.example/",
        "https://%31%32%37.0.0.1/",
        "https://１２７.0.0.1/",  # noqa: RUF001  full-width digits are the point
        "https://x℀y.example/",
        "https://ex\u00adample.com/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.1/",
        "https://127.1/",
        "https://0177.0.0.1/",
        "https://1.2.3.4.5/",
        "https://x.example.0x/",
        "https://[::1",
        "https://[::1]x/",
        "https://x[::1]/",
        "https://[fe80::1%25eth0]/",
        "https://[1.2.3.4]/",
        "https://[v1.x]/",
        "https://h.example/" + "x" * 5000,
    ],
)
def test_a_link_that_could_be_read_in_two_ways_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequest, match="not a well-formed link"):
        parse_link(url)
