from rest_framework.throttling import AnonRateThrottle

from robots.addresses import client_address


def address_of(request) -> str:
    return client_address(request.META.get("REMOTE_ADDR"), request.META.get("HTTP_X_FORWARDED_FOR", "")) or ""


class AnonymousThrottle(AnonRateThrottle):
    """By the address that a proxy we trust has seen, so X-Forwarded-For buys nobody more; robots are no strangers."""

    def get_ident(self, request):
        return address_of(request)

    def get_cache_key(self, request, view):
        return None if request.auth else super().get_cache_key(request, view)
