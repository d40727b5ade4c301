import os

import django
from channels.routing import ProtocolTypeRouter, URLRouter

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from django.db import connection

from teleop.asgi.django_handler import OneCallHandler
from teleop.asgi.health_checks import with_health_checks
from teleop.asgi.refusals import RefusalMiddleware
from teleop.asgi.request_ids import with_request_ids
from teleop.asgi.requests import Requests
from teleop.asgi.routing import websocket_urlpatterns
from teleop.monitoring.database import limit_requests

if connection.vendor == "postgresql":
    limit_requests(connection.settings_dict["OPTIONS"])

websockets = RefusalMiddleware(URLRouter(websocket_urlpatterns))
application = ProtocolTypeRouter(
    {"http": with_request_ids(with_health_checks(Requests(OneCallHandler()))), "websocket": websockets}
)
