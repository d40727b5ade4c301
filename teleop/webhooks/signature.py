"""Sign a body by the rules of Standard Webhooks (standardwebhooks.com), which has libraries that verify it."""

import base64
import binascii
import hashlib
import hmac
import secrets

from django.core.exceptions import ValidationError

PREFIX = "whsec_"
MIN_BYTES, MAX_BYTES = 24, 64


def new_secret() -> str:
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def key_of(secret: str) -> bytes:
    """Return the key of a secret; ValueError with a sentence if the secret cannot be used."""
    expected = f"{PREFIX} and the base64 of {MIN_BYTES} to {MAX_BYTES} random bytes expected"
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"the secret is no base64; {expected}") from None
    if not secret.startswith(PREFIX) or not MIN_BYTES <= len(key) <= MAX_BYTES:
        raise ValueError(f"the secret has {len(key)} bytes; {expected}")
    return key


def check_secret(secret: str) -> None:
    """Validate the field of a form."""
    try:
        key_of(secret)
    except ValueError as error:
        raise ValidationError(str(error)) from None


def signed_headers(secret: str, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the headers by which the receiver verifies the sender, the body and the time, in unix seconds."""
    content = f"{message_id}.{timestamp}.".encode() + body
    digest = hmac.new(key_of(secret), content, hashlib.sha256).digest()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }
