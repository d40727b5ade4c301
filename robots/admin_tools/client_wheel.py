"""The wheel of the robots' client: deploy/build-client.sh builds it, and WhiteNoise serves it to everyone."""

from pathlib import Path

from django.conf import settings
from django.http import HttpRequest

FOLDER = Path(__file__).parents[1] / "static" / "client"
# Read at the start, because WhiteNoise lists its files once: a wheel that is built later needs a restart.
NAME = next((wheel.name for wheel in FOLDER.glob("*.whl")), None)


def urls(request: HttpRequest) -> dict[str, str | None]:
    """Return the URLs of this server, as the request names it, and of the wheel: None if it was not built.

    The URL of the wheel is not the versioned one of `{% static %}`, so that people can write it down.
    """
    server_url = request.build_absolute_uri("/").removesuffix("/")
    return {"server_url": server_url, "wheel_url": NAME and f"{server_url}{settings.STATIC_URL}client/{NAME}"}
