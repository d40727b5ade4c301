"""Check that Redis carries the messages of the channel layer: publish one, and receive it."""

import ssl
from uuid import uuid4

import redis
from redis import exceptions

# Like the names of the channel layer, because an ACL may allow a user these names only.
CHANNEL = "asgi__group__probe-"
TEMPORARY = (exceptions.BusyLoadingError, exceptions.MasterDownError, exceptions.OutOfMemoryError)
CURE = "the user needs +@pubsub and &asgi* (docs/deploy.md, Redis)"


def send_and_receive(client: redis.Redis, timeout_s: float) -> None:
    """Publish a message and receive it; raise redis.RedisError if one of the two fails."""
    channel = f"{CHANNEL}{uuid4().hex}"
    with client.pubsub() as subscription:
        subscription.subscribe(channel)
        subscription.get_message(timeout=timeout_s)  # the answer to `subscribe`: now a message would arrive
        client.publish(channel, b"")
        if subscription.get_message(timeout=timeout_s) is None:
            raise exceptions.TimeoutError(f"a message did not arrive within {timeout_s} s")


def is_wrong_setting(error: Exception) -> bool:
    """Return whether Redis answered and refuses what this program needs, so that waiting does not help."""
    if isinstance(error.__cause__ or error.__context__, ssl.SSLCertVerificationError):
        return True
    refused = (exceptions.ResponseError, exceptions.AuthenticationError, exceptions.InvalidResponse)
    return isinstance(error, refused) and not isinstance(error, TEMPORARY)


def problem(error: Exception) -> str:
    """Describe the error in one line, with the cure if a privilege is missing."""
    message = (str(error).strip().splitlines() or [""])[0]
    cure = f"; {CURE}" if isinstance(error, exceptions.NoPermissionError) else ""
    return f"{type(error).__name__}: {message}{cure}"
