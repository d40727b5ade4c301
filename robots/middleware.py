from asgiref.sync import iscoroutinefunction
from django.utils.cache import patch_cache_control, patch_vary_headers
from django.utils.decorators import sync_and_async_middleware

from robots.client_address import is_trusted


@sync_and_async_middleware  # django.utils.deprecation.MiddlewareMixin would take a thread for each half
def headers_of_strangers_and_caches(get_response):
    """Ignore what only a trusted proxy may say, and let no cache keep what may be private."""
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
    """Django's SECURE_PROXY_SSL_HEADER believes every peer's X-Forwarded-Proto."""
    if not is_trusted(request.META.get("REMOTE_ADDR") or ""):
        request.META.pop("HTTP_X_FORWARDED_PROTO", None)


def forbid_caching(response) -> None:
    """Static files and videos say themselves how they may be kept."""
    if "Cache-Control" not in response:
        patch_cache_control(response, private=True, no_store=True)
    if "private" in response["Cache-Control"]:
        patch_vary_headers(response, ["Authorization"])
