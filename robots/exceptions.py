from django.db import InterfaceError, OperationalError
from django.db.models import ProtectedError
from rest_framework import status, views
from rest_framework.exceptions import APIException


class Conflict(APIException):
    status_code = status.HTTP_409_CONFLICT
    default_detail = "not in the state that this needs"
    default_code = "conflict"


class TooLarge(APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "too_large"


class DatabaseAway(APIException):
    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = "the database does not answer; come back in a while"
    default_code = "database_away"
    wait = 5  # Retry-After


def handle(error: Exception, context: dict):
    """What models and the database raise, as the status that a client can act upon."""
    match error:
        case ProtectedError():
            held = {each._meta.verbose_name for each in error.protected_objects}
            error = Conflict(f"it has {len(error.protected_objects)} rows that need it: {', '.join(sorted(held))}")
        case OperationalError() | InterfaceError():
            error = DatabaseAway()
    return views.exception_handler(error, context)
