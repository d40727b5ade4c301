"""The wheels of the robots' client: deploy/build-client.sh builds them, and WhiteNoise serves them to everyone."""

from pathlib import Path

from django.conf import settings
from django.http import HttpRequest

PACKAGES = (("wheel_url", "teleop_client"), ("plugin_url", "lerobot_robot_teleop"))
FOLDER = Path(__file__).parents[1] / "static" / "client"
# Read at the start, because WhiteNoise lists its files once: a wheel that is built later needs a restart.
NAMES = {kind: next((wheel.name for wheel in FOLDER.glob(f"{package}-*.whl")), None) for kind, package in PACKAGES}


def urls(request: HttpRequest) -> dict[str, str | None]:
    """Return the URLs of this server, as the request names it, and of the wheels: None if one was not built.

    The URL of a wheel is not the versioned one of `{% static %}`, so that people can write it down.
    """
    server_url = request.build_absolute_uri("/").removesuffix("/")
    folder = f"{server_url}{settings.STATIC_URL}client/"
    return {"server_url": server_url, **{kind: name and folder + name for kind, name in NAMES.items()}}
