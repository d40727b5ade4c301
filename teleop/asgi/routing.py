from channels.sessions import SessionMiddlewareStack
from django.conf import settings
from django.urls import re_path

from teleop.ingest.consumer import RobotConsumer, RobotOriginValidator
from teleop.live.consumers import FleetConsumer, LiveConsumer, PageOriginValidator


def for_robots(consumer):
    return RobotOriginValidator(consumer, settings.ALLOWED_HOSTS)


def for_staff(consumer):
    return PageOriginValidator(SessionMiddlewareStack(consumer), settings.ALLOWED_HOSTS)


async def refuse(scope, receive, send):
    """Close the handshake of an unknown path. Without this last route it would be an exception, and HTTP 500."""
    await receive()
    await send({"type": "websocket.close"})


websocket_urlpatterns = [
    # Every path that begins with /ws/log/ matches, so that a bad id gets a clear answer; likewise with /ws/live/.
    re_path(r"^ws/log/(?P<robot_id>.*)$", for_robots(RobotConsumer())),
    re_path(r"^ws/live/(?P<robot_id>.*)$", for_staff(LiveConsumer())),
    re_path(r"^ws/fleet$", for_staff(FleetConsumer())),
    re_path(r"", refuse),
]
