"""Resolve the host of a webhook, and refuse addresses of the server's own networks.

Otherwise a webhook could reach services that trust their network, such as the metadata service of a cloud provider
(169.254.169.254). The caller connects to a returned address and does not resolve the name again, as a second answer of
the name server may differ from the checked one (DNS rebinding).
"""

import socket

from django.conf import settings

from robots.client_address import Address, parse


class AddressRefused(Exception):
    """A host has an address that is not public, and that WEBHOOK_PRIVATE_NETWORKS does not contain."""

    def __init__(self, host: str, address: str):
        text = f"{host} has the address {address}" if host != address else address
        super().__init__(f"{text}, which is not public; WEBHOOK_PRIVATE_NETWORKS does not contain it")


def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a host; AddressRefused if one of them must not be called."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(sockaddr[0] for *_, sockaddr in found))
    for address in addresses:
        if not is_allowed(address):
            raise AddressRefused(host, address)
    return addresses


def is_allowed(text: str) -> bool:
    address = parse(text)  # an IPv4-mapped address becomes IPv4
    if address is None:
        return False
    return is_public(address) or any(address in network for network in settings.WEBHOOK_PRIVATE_NETWORKS)


def is_public(address: Address) -> bool:
    """Return whether the address is of one host in the internet; not if it embeds an IPv4 address (6to4, NAT64)."""
    is_special = address.is_multicast or address.is_reserved  # NAT64 is in ::/8, which is reserved
    if address.version == 6:
        is_special = is_special or address.is_site_local or address.sixtofour is not None
    return address.is_global and not is_special
