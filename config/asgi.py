import asyncio
import os
from collections.abc import Callable

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django_application = get_asgi_application()

from django.db import connection, connections

from teleop.limits import BoundedSockets
from teleop.request_ids import with_request_ids
from teleop.routing import websocket_urlpatterns

if connection.vendor == "postgresql":
    # For requests alone: robots' frames (teleop/ingest/store.py) and commands wait as long as it takes. What
    # DATABASE_URL says of it comes later, so it counts.
    options = connection.settings_dict["OPTIONS"]
    options["options"] = f"-c statement_timeout=30s {options.get('options', '')}"


def uninterrupted(application: Callable) -> Callable:
    """The application, whose requests run to their end and then give their database connection back.

    Daphne cancels a request whose client has left again and again until it is over. Django then does not close the
    connection of a thread that still waits for its statement, and the pool never gets it back.
    """
    running: set[asyncio.Task] = set()  # the event loop alone would let a task be collected

    async def run(scope: dict, receive: Callable, send: Callable) -> None:
        async with ThreadSensitiveContext():
            try:
                await application(scope, receive, send)
            except BaseException:
                await sync_to_async(connections.close_all)()  # in the thread that opened them
                raise

    async def run_shielded(scope: dict, receive: Callable, send: Callable) -> None:
        task = asyncio.create_task(run(scope, receive, send))
        running.add(task)
        task.add_done_callback(running.discard)
        await asyncio.shield(task)

    return run_shielded


websockets = BoundedSockets(URLRouter(websocket_urlpatterns))
application = ProtocolTypeRouter({"http": with_request_ids(uninterrupted(django_application)), "websocket": websockets})
