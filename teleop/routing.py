from django.conf import settings
from django.urls import re_path

from teleop.consumers import RobotConsumer, RobotOriginValidator


async def refuse(scope, receive, send):
    """The last route: without it an unknown path would be an exception, and HTTP 500."""
    await receive()
    await send({"type": "websocket.close"})


websocket_urlpatterns = [
    # Anything after /ws/log/ comes here, so that a bad id gets a clear answer.
    re_path(r"^ws/log/(?P<robot_id>.*)$", RobotOriginValidator(RobotConsumer(), settings.ALLOWED_HOSTS)),
    re_path(r"", refuse),
]
