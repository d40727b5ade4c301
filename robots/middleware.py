from csp.middleware import CSPMiddleware
from django.middleware.gzip import GZipMiddleware
from django.utils.cache import patch_cache_control, patch_vary_headers

from robots.client_address import is_secure

MIN_COMPRESSED_BYTES, MAX_COMPRESSED_BYTES = 10_000, 4 * 2**20  # 4 MiB take 0.13 s of CPU


def scheme_and_cache_control(get_response):
    """Ignore a header that only a trusted proxy may send, and forbid caches to store answers that may be private."""

    def middleware(request):
        set_scheme(request)
        response = get_response(request)
        forbid_caching(response)
        return response

    return middleware


def set_scheme(request) -> None:
    """Set X-Forwarded-Proto to what trusted proxies report; Django's SECURE_PROXY_SSL_HEADER believes every peer."""
    headers = request.headers
    request.META.pop("HTTP_X_FORWARDED_PROTO", None)  # without it `scheme` is the one of this server's connection
    secure = is_secure(request.META.get("REMOTE_ADDR"), request.scheme, headers)
    request.META["HTTP_X_FORWARDED_PROTO"] = "https" if secure else "http"


def forbid_caching(response) -> None:
    """Forbid caching of answers without Cache-Control; static files and videos set this header themselves."""
    if "Cache-Control" not in response:
        patch_cache_control(response, private=True, no_store=True)
    if "private" in response["Cache-Control"]:
        patch_vary_headers(response, ["Authorization"])


class PagePolicy(CSPMiddleware):
    """Send the content security policy, but not with JSON: no browser runs JSON, and to build a policy takes 60 us."""

    def process_response(self, request, response):
        is_json = response.headers.get("Content-Type") == "application/json"
        return response if is_json else super().process_response(request, response)


class CompressJSON(GZipMiddleware):
    """Compress JSON of some size. Streams, parts of files, and pages (they hold a CSRF token) are never compressed."""

    def process_response(self, request, response):
        if (
            response.streaming
            or response.headers.get("Content-Type") != "application/json"
            or "Content-Range" in response
        ):
            return response
        if not MIN_COMPRESSED_BYTES <= len(response.content) <= MAX_COMPRESSED_BYTES:
            return response
        return super().process_response(request, response)
