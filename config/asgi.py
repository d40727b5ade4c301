import os

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django_application = get_asgi_application()

from django.db import connection

from teleop.asgi.connection_limits import ConnectionLimitMiddleware
from teleop.asgi.request_ids import with_request_ids
from teleop.asgi.requests import Requests
from teleop.asgi.routing import websocket_urlpatterns

if connection.vendor == "postgresql":
    # The timeout is for requests alone: robots' frames (teleop/ingest/store.py) and commands wait as long as it takes.
    # A value in DATABASE_URL comes later, so it has precedence.
    options = connection.settings_dict["OPTIONS"]
    options["options"] = f"-c statement_timeout=30s {options.get('options', '')}"

websockets = ConnectionLimitMiddleware(URLRouter(websocket_urlpatterns))
application = ProtocolTypeRouter({"http": with_request_ids(Requests(django_application)), "websocket": websockets})
