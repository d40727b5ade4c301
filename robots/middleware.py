from asgiref.sync import iscoroutinefunction
from django.utils.cache import patch_cache_control, patch_vary_headers
from django.utils.decorators import sync_and_async_middleware

from robots.client_address import is_trusted


@sync_and_async_middleware  # django.utils.deprecation.MiddlewareMixin would use a thread for each half
def headers_of_strangers_and_caches(get_response):
    """Ignore a header that only a trusted proxy may send, and forbid caches to store answers that may be private."""
    if iscoroutinefunction(get_response):

        async def middleware(request):
            drop_untrusted_scheme(request)
            response = await get_response(request)
            forbid_caching(response)
            return response

    else:

        def middleware(request):
            drop_untrusted_scheme(request)
            response = get_response(request)
            forbid_caching(response)
            return response

    return middleware


def drop_untrusted_scheme(request) -> None:
    """Drop an untrusted peer's X-Forwarded-Proto, as Django's SECURE_PROXY_SSL_HEADER believes every peer."""
    if not is_trusted(request.META.get("REMOTE_ADDR") or ""):
        request.META.pop("HTTP_X_FORWARDED_PROTO", None)


def forbid_caching(response) -> None:
    """Forbid caching of answers without Cache-Control; static files and videos set this header themselves."""
    if "Cache-Control" not in response:
        patch_cache_control(response, private=True, no_store=True)
    if "private" in response["Cache-Control"]:
        patch_vary_headers(response, ["Authorization"])
