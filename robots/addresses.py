from ipaddress import ip_address

from django.conf import settings


def client_address(peer: str | None, forwarded_for: str) -> str | None:
    """The address a connection comes from: X-Forwarded-For counts only as far as trusted proxies have written it.

    Each proxy appends whom it heard from, so the right-most address that is no trusted proxy is the client's; what
    stands left of it the client itself may have written.
    """
    hops = [hop.strip() for hop in forwarded_for.split(",") if hop.strip()]
    address = peer
    while hops and address and is_trusted(address):
        address = hops.pop()
    try:
        return str(ip_address(address)) if address else None
    except ValueError:
        return peer


def is_trusted(address: str) -> bool:
    try:
        return any(ip_address(address) in network for network in settings.TRUSTED_PROXIES)
    except ValueError:
        return False
