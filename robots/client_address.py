"""The address of a connection's client, and whether the client uses TLS, as trusted proxies report them.

Proxies report in X-Forwarded-For and X-Forwarded-Proto, or in Forwarded (RFC 7239), which is read only without those.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from django.conf import settings

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

IPV4_MAPPED = ip_network("::ffff:0:0/96")  # how an IPv6 socket reports IPv4 clients: ::ffff:10.0.0.7
IPV6_PREFIX = 64  # the network that a provider assigns to one customer
MAX_CHARACTERS = 45  # of an address: 0000:0000:0000:0000:0000:ffff:255.255.255.255


def client_address(peer: str | None, headers: Mapping[str, str]) -> str | None:
    """Return the address of a connection's client, as far as trusted proxies report it; None if it is not known.

    Each proxy appends the address of its own peer, so the right-most address that is no trusted proxy is the client's.
    The client itself may have written the addresses to the left of it. If a proxy reports no address (`unknown`),
    the client is the peer.
    """
    address = _client(peer, headers)
    return str(address) if address else None


def counted_address(peer: str | None, headers: Mapping[str, str] | None = None) -> str:
    """Return the client's address as limits count it: for IPv6 its /64, as one customer can use every address in it.

    Return "" if the address is not known (a Unix socket).
    """
    address = _client(peer, headers or {})
    if isinstance(address, IPv6Address):
        return str(ip_network((int(address), IPV6_PREFIX), strict=False))
    return str(address or "")


def is_trusted(peer: str | None) -> bool:
    return _is_trusted(parse(peer))


def is_loopback(peer: str | None) -> bool:
    address = parse(peer)
    return address is not None and address.is_loopback


def is_secure(peer: str | None, scheme: str, headers: Mapping[str, str]) -> bool:
    """Return whether the client connected by TLS: to this server, or to a trusted proxy that reports TLS.

    Of several values the first counts, as in Django: it is of the outermost proxy.
    """
    if is_trusted(peer):
        forwarded = _parameter(headers.get("forwarded", "").split(",")[0], "proto")
        scheme = headers.get("x-forwarded-proto", "").split(",")[0].strip() or forwarded or scheme
    return scheme.lower() in ("https", "wss")


def joined(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the headers of an ASGI scope by name; the values of a repeated header are joined with commas."""
    values: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin1"), raw_value.decode("latin1")
        values[name] = f"{values[name]},{value}" if name in values else value
    return values


def parse(address: str | None) -> Address | None:
    """Parse an address; a scope id (fe80::1%eth0) is left out, and an IPv4-mapped address becomes IPv4."""
    text = (address or "").partition("%")[0]
    return _parse(text) if len(text) <= MAX_CHARACTERS else None


@lru_cache(maxsize=4096)  # each request parses its peer several times: 6 us
def _parse(text: str) -> Address | None:
    try:
        parsed = ip_address(text)
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed


def parse_network(text: str) -> Network:
    """Parse an address or a network, for TRUSTED_PROXIES; ValueError if the text is neither."""
    address, slash, prefix = text.partition("/")
    address = address.strip("[]").partition("%")[0]
    try:
        network = ip_network(f"{address}{slash}{prefix}", strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is no address or network; 10.0.0.7 or 10.0.0.0/8 expected") from None
    if network.network_address != ip_address(address):
        raise ValueError(f"{text!r} is ambiguous; {address} (one address) or {network} (a network) expected")
    if isinstance(network, IPv6Network) and network.subnet_of(IPV4_MAPPED):
        return ip_network((network.network_address.ipv4_mapped, network.prefixlen - IPV4_MAPPED.prefixlen))
    return network


def _is_trusted(address: Address | None) -> bool:
    return address is not None and any(address in network for network in settings.TRUSTED_PROXIES)


def _client(peer: str | None, headers: Mapping[str, str]) -> Address | None:
    address = parse(peer)
    if _is_trusted(address):
        hops = _hops(headers)
        while hops and _is_trusted(address):
            address = _parse_hop(hops.pop())
    return address or parse(peer)


def _hops(headers: Mapping[str, str]) -> list[str]:
    """Return the addresses that proxies report, the nearest one last."""
    if hops := [hop for hop in headers.get("x-forwarded-for", "").split(",") if hop.strip()]:
        return hops
    forwarded = headers.get("forwarded", "")
    return [_parameter(element, "for") for element in forwarded.split(",")] if forwarded else []


def _parameter(element: str, name: str) -> str:
    """Return a parameter of one element of Forwarded, such as `for="[2001:db8::1]:4711";proto=https`."""
    found = re.search(rf'(?:^|;)\s*{name}\s*=\s*"?([^;"]*)', element, re.IGNORECASE)
    return found[1].strip() if found else ""


def _parse_hop(hop: str) -> Address | None:
    """Parse an address as proxies write it: 192.0.2.7:4711, [2001:db8::1]:4711, or without a port; else None."""
    host = hop.strip().strip('"')
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    return parse(host)
