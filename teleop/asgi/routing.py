from channels.sessions import SessionMiddlewareStack
from django.urls import re_path

from robots.querysets import HandshakeRefused
from teleop.asgi.origins import for_pages
from teleop.ingest.consumer import RobotConsumer
from teleop.ingest.preview_consumer import PreviewConsumer
from teleop.live.consumers import FleetConsumer, LiveConsumer


async def refuse(scope, receive, send):
    """Refuse the handshake of an unknown path. Without this last route it would be another exception, and HTTP 500."""
    raise HandshakeRefused("unknown_path", "no WebSocket has this path; /ws/log/ROBOT_ID expected")


websocket_urlpatterns = [
    # Every path that begins with /ws/log/ matches, so that a bad id gets a clear answer; likewise with the others.
    re_path(r"^ws/log/(?P<robot_id>.*)$", RobotConsumer()),
    re_path(r"^ws/preview/(?P<robot_id>.*)$", PreviewConsumer()),
    re_path(r"^ws/live/(?P<robot_id>.*)$", for_pages(SessionMiddlewareStack(LiveConsumer()))),
    re_path(r"^ws/fleet$", for_pages(SessionMiddlewareStack(FleetConsumer()))),
    re_path(r"", refuse),
]
