from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from django.conf import settings

IPV6_PREFIX = 64  # the network that a provider assigns to one customer


def client_address(peer: str | None, forwarded_for: str) -> str | None:
    """Return the address of a connection's client, using X-Forwarded-For only as far as trusted proxies wrote it.

    Each proxy appends the address of its own peer, so the right-most address that is no trusted proxy is the client's.
    The client itself may have written the addresses to the left of it.
    """
    hops = [hop.strip() for hop in forwarded_for.split(",") if hop.strip()]
    address = peer
    while hops and address and is_trusted(address):
        address = hops.pop()
    try:
        return str(_parse(address)) if address else None
    except ValueError:
        return peer


def counted_address(peer: str | None, forwarded_for: str) -> str:
    """Return the client's address as limits count it: for IPv6 its /64, as one customer can use every address in it.

    Return "" if the address is not known (a Unix socket).
    """
    address = client_address(peer, forwarded_for) or ""
    try:
        parsed = _parse(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        return str(ip_network((int(parsed), IPV6_PREFIX), strict=False))
    return str(parsed)


def is_trusted(address: str) -> bool:
    try:
        return any(_parse(address) in network for network in settings.TRUSTED_PROXIES)
    except ValueError:
        return False


def is_secure(peer: str | None, scheme: str, forwarded_proto: str) -> bool:
    """Return whether the client connected by TLS: to this server, or to a trusted proxy that reports TLS.

    Of several values the first counts, as in Django: it is of the outermost proxy.
    """
    if forwarded_proto and peer and is_trusted(peer):
        return forwarded_proto.split(",", 1)[0].strip().lower() in ("https", "wss")
    return scheme in ("https", "wss")


def _parse(address: str) -> IPv4Address | IPv6Address:
    """Parse an address; a socket that listens on `::` reports IPv4 clients as ::ffff:10.0.0.7, which is 10.0.0.7."""
    parsed = ip_address(address)
    return getattr(parsed, "ipv4_mapped", None) or parsed
