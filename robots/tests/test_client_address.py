"""The address and the scheme of a client, from the peer's address and the headers that proxies write."""

from ipaddress import ip_network

import pytest

from robots.client_address import (
    client_address,
    counted_address,
    is_loopback,
    is_secure,
    is_trusted,
    joined,
    parse_network,
)

NGINX = "10.0.0.1"


@pytest.fixture(autouse=True)
def _proxies(settings):
    settings.TRUSTED_PROXIES = [ip_network(each) for each in (NGINX, "10.1.0.0/16", "2001:db8:ffff::/48")]


@pytest.mark.parametrize(
    "peer, forwarded_for, client",
    [
        ("192.0.2.7", "192.0.2.8", "192.0.2.7"),  # the peer is no trusted proxy
        (NGINX, "192.0.2.8", "192.0.2.8"),
        (NGINX, "192.0.2.9, 192.0.2.8", "192.0.2.8"),  # the client wrote the first
        (NGINX, "192.0.2.9, 192.0.2.8,10.1.2.3", "192.0.2.8"),
        (NGINX, "192.0.2.8:5678", "192.0.2.8"),
        (NGINX, "[2001:db8::1]:443", "2001:db8::1"),
        (NGINX, "[2001:db8::1]", "2001:db8::1"),
        (NGINX, "2001:db8::1", "2001:db8::1"),
        (NGINX, '"[2001:db8::1]:443"', "2001:db8::1"),
        (NGINX, "::ffff:192.0.2.8", "192.0.2.8"),
        (NGINX, " 192.0.2.8 , ,, ", "192.0.2.8"),
        (NGINX, "192.0.2.8, 10.1.2.3:80, [2001:db8:ffff::5]:80", "192.0.2.8"),
        (NGINX, "10.1.2.3", "10.1.2.3"),  # a proxy that is the client itself
        (NGINX, "", NGINX),
        (NGINX, "unknown", NGINX),
        (NGINX, "192.0.2.8, unknown", NGINX),  # its client is not known: what stands to the left is the client's own
        (NGINX, "192.0.2.8, unknown, 10.1.2.3", NGINX),
        (NGINX, "192.0.2.8, _hidden", NGINX),
        (NGINX, "192.0.2.8, [2001:db8::1", "2001:db8::1"),
        (NGINX, "192.0.2.8, 300.1.1.1", NGINX),
        (NGINX, "192.0.2.8, " + "0" * 5000, NGINX),
        (NGINX, "192.0.2.8, 1.2.3.4.5:80:80", NGINX),
        (NGINX, "192.0.2.8, \x00\xff", NGINX),
        ("2001:db8:ffff::1", "192.0.2.8", "192.0.2.8"),
        ("2001:db8:ffff::1%eth0", "192.0.2.8", "192.0.2.8"),
        ("::ffff:10.0.0.1", "192.0.2.8", "192.0.2.8"),
        ("fe80::1%eth0", "192.0.2.8", "fe80::1"),
        ("", "192.0.2.8", None),
        (None, "192.0.2.8", None),
        ("no address", "192.0.2.8", None),
    ],
)
def test_it_finds_the_client_behind_trusted_proxies(peer, forwarded_for, client):
    assert client_address(peer, {"x-forwarded-for": forwarded_for}) == client


@pytest.mark.parametrize(
    "forwarded, client",
    [
        ('for="[2001:db8::1]:4711";proto=https', "2001:db8::1"),
        ("For=192.0.2.8", "192.0.2.8"),
        ("for=192.0.2.9, for=192.0.2.8;by=10.0.0.1;proto=http", "192.0.2.8"),
        ('proto=https; for = "192.0.2.8:80"', "192.0.2.8"),
        ("for=192.0.2.8, for=10.1.2.3", "192.0.2.8"),
        ("for=192.0.2.8, proto=https", NGINX),  # the nearest proxy does not say for whom
        ("for=192.0.2.8, for=unknown", NGINX),
        ('for=192.0.2.8, for="_secret"', NGINX),
        ('for="192.0.2.9, for=192.0.2.8', "192.0.2.8"),  # the client left a quote open
        ("for=192.0.2.8,", NGINX),
        ("", NGINX),
    ],
)
def test_it_reads_forwarded_without_x_forwarded_for(forwarded, client):
    assert client_address(NGINX, {"forwarded": forwarded}) == client
    assert client_address("192.0.2.1", {"forwarded": forwarded}) == "192.0.2.1"
    assert client_address(NGINX, {"forwarded": forwarded, "x-forwarded-for": "192.0.2.5"}) == "192.0.2.5"


@pytest.mark.parametrize(
    "peer, counted",
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:9::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", ""),
        (None, ""),
    ],
)
def test_it_counts_ipv6_by_its_network(peer, counted):
    assert counted_address(peer) == counted
    assert counted_address(NGINX, {"x-forwarded-for": peer}) == counted if peer else True


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "::1%lo"])
def test_it_recognizes_this_machine(peer):
    assert is_loopback(peer)
    assert not is_loopback("192.0.2.7")
    assert not is_loopback(None)


@pytest.mark.parametrize(
    "scheme, headers, secure",
    [
        ("http", {"x-forwarded-proto": "https"}, True),
        ("http", {"x-forwarded-proto": "HTTPS"}, True),
        ("ws", {"x-forwarded-proto": "wss"}, True),
        ("ws", {"x-forwarded-proto": "https,http"}, True),
        ("ws", {"x-forwarded-proto": " http , https"}, False),
        ("http", {"forwarded": "for=192.0.2.8;proto=https"}, True),
        ("http", {"forwarded": 'proto="https", proto=http'}, True),
        ("http", {"forwarded": "proto=https", "x-forwarded-proto": "http"}, False),
        ("http", {"forwarded": "for=192.0.2.8"}, False),
        ("https", {"forwarded": "for=192.0.2.8"}, True),
        ("http", {"x-forwarded-proto": ""}, False),
    ],
)
def test_it_reads_the_scheme_from_trusted_proxies_only(scheme, headers, secure):
    assert is_secure(NGINX, scheme, headers) is secure
    assert is_secure("192.0.2.1", scheme, headers) is (scheme == "https")


def test_it_joins_repeated_headers():
    headers = [(b"x-forwarded-for", b"192.0.2.9"), (b"origin", b"null"), (b"x-forwarded-for", b"192.0.2.8:80")]
    assert joined(headers) == {"x-forwarded-for": "192.0.2.9,192.0.2.8:80", "origin": "null"}
    assert client_address(NGINX, joined(headers)) == "192.0.2.8"


@pytest.mark.parametrize(
    "text, network",
    [
        ("10.0.0.7", "10.0.0.7/32"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.0.0.0/255.0.0.0", "10.0.0.0/8"),
        ("::1", "::1/128"),
        ("[::1]", "::1/128"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("[2001:db8::]/32", "2001:db8::/32"),
        ("::ffff:10.0.0.7", "10.0.0.7/32"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("fe80::1%eth0", "fe80::1/128"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("::/0", "::/0"),
    ],
)
def test_it_parses_networks_of_both_families(text, network):
    assert parse_network(text) == ip_network(network)


@pytest.mark.parametrize(
    "text, printed",
    [
        ("nginx", "'nginx' is no address or network; 10.0.0.7 or 10.0.0.0/8 expected"),
        ("*", "is no address or network"),
        ("10.0.0.7:80", "is no address or network"),
        ("10.0.0.0/33", "is no address or network"),
        ("10.0.0.7/8", "10.0.0.7 (one address) or 10.0.0.0/8 (a network) expected"),
    ],
)
def test_it_names_the_network_that_it_cannot_parse(text, printed):
    with pytest.raises(ValueError) as caught:
        parse_network(text)
    assert printed in str(caught.value)


def test_it_trusts_a_mapped_address_of_an_ipv4_network():
    assert is_trusted("::ffff:10.1.2.3") and is_trusted("10.1.2.3")
    assert not is_trusted("::ffff:10.2.2.3") and not is_trusted("")
