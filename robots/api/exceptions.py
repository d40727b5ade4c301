import sys

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.db.models import ProtectedError
from django.http import HttpResponse, JsonResponse
from django.views import defaults
from psycopg_pool import PoolTimeout
from rest_framework import status
from rest_framework.exceptions import APIException, AuthenticationFailed


class Conflict(APIException):
    status_code = status.HTTP_409_CONFLICT
    default_detail = "the request conflicts with the current state of the resource"
    default_code = "conflict"


class WrongLogin(APIException):
    status_code = status.HTTP_401_UNAUTHORIZED
    default_detail = "invalid username or password, or inactive account"
    default_code = "wrong_login"
    auth_header = "Token"


class TooLarge(APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "too_large"


class DatabaseUnavailable(APIException):
    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = "the database does not answer; try again later"
    default_code = "database_away"
    wait = 5  # Retry-After

    @classmethod
    def of(cls, error: OperationalError | InterfaceError) -> "DatabaseUnavailable":
        """Count and name the case that all connections of the pool are in use; the server itself is healthy then."""
        if not isinstance(error.__cause__, PoolTimeout):
            return cls()
        from robots.api.throttling import count_refused

        count_refused("no_connection")
        pool = settings.DATABASES["default"]["OPTIONS"]["pool"]
        return cls(
            f"no database connection became free within {pool['timeout']} s: all {pool['max_size']} are in use, "
            "or the database does not answer; try again later"
        )


def handle(error: Exception, context: dict):
    """Convert exceptions of models and the database to a status that a client can act upon."""
    # These modules read the settings, which name modules that import this one.
    from rest_framework.views import exception_handler

    from robots.api.throttling import count_refusal

    match error:
        case ProtectedError():
            held = ", ".join(sorted({str(each._meta.verbose_name_plural) for each in error.protected_objects}))
            error = Conflict(f"cannot be deleted: {held} refer to it (rows: {len(error.protected_objects)})")
        case OperationalError() | InterfaceError():
            error = DatabaseUnavailable.of(error)
        case AuthenticationFailed():  # raised before any throttle ran
            error = count_refusal(context["request"]) or error
    return exception_handler(error, context)


def server_error(request):
    """Answer an error outside REST; if the database is unreachable, answer 503, for a browser too."""
    error = sys.exc_info()[1]
    if isinstance(error, OperationalError | InterfaceError):
        unavailable = DatabaseUnavailable.of(error)
        return HttpResponse(
            unavailable.detail, "text/plain", unavailable.status_code, headers={"Retry-After": str(unavailable.wait)}
        )
    return defaults.server_error(request)


def not_found(request, exception):
    """Answer an unknown path: a program receives JSON here too, a browser a page."""
    if "text/html" in request.headers.get("Accept", ""):
        return defaults.page_not_found(request, exception)
    return JsonResponse({"detail": "no endpoint has this path"}, status=404)


def bad_request(request, exception):
    """Answer a request that Django itself refuses: for an unknown host, or a header or a form past its bounds."""
    if "text/html" in request.headers.get("Accept", ""):
        return defaults.bad_request(request, exception)
    return JsonResponse({"detail": "bad request: the host, a header or the form is not acceptable"}, status=400)
