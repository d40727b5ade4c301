"""Permissions: every URL and socket with each method, for each identity. docs/api.md describes them in words.

`arm` and `leg` send robots' keys; the sessions are arm's. The others are people: `none` is staff without permissions,
`robots` and `sessions` are staff that may view robots or sessions and nothing else, and `closed` is a superuser whose
account was deactivated. A new endpoint has to be added to a table here, or `test_the_tables_list_every_url` fails.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterator
from importlib import import_module

import pytest
from channels.db import database_sync_to_async
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator
from django.apps import apps
from django.contrib.auth.models import Group, Permission, User
from django.core.cache import cache
from django.core.files.base import ContentFile
from django.db import connections, transaction
from django.template.response import SimpleTemplateResponse, TemplateResponse
from django.test import Client
from django.urls import URLPattern, get_resolver, resolve
from rest_framework.authtoken.models import Token

from datasets.tests.export_rows import done
from robots import worker_messages
from robots.close_codes import WatchClose
from robots.models import AuditEntry, Robot
from teleop.asgi.refusals import RefusalMiddleware
from teleop.asgi.routing import websocket_urlpatterns
from teleop.ingest import admission, consumer, preview_consumer
from teleop.ingest.handshakes import ServerRestarting
from teleop.ingest.types import Handshake
from teleop.live.consumers import FleetConsumer, LiveConsumer
from teleop.models import Job, TeleopFrame
from teleop.tests.recordings import make_session
from teleop.webhooks.models import Webhook
from videos.models import VideoChunk

pytestmark = pytest.mark.once

# People send tokens. 400, 404, 409 and 415 mean that the user was authorized; a method without a line answers 4xx.
REST = """
method path                                  anonymous arm leg none robots sessions viewer curator admin closed
GET    /health                                     200 200 200  200    200      200    200     200   200    200
GET    /health/live                                200 200 200  200    200      200    200     200   200    200
GET    /metrics                                    403 403 403  403    403      403    403     403   403    403
GET    /schema                                     200 200 200  200    200      200    200     200   200    401
GET    /docs                                       200 200 200  200    200      200    200     200   200    401
POST   /auth/token                                 400 400 400  400    400      400    400     400   400    400
GET    /robots                                     401 403 403  403    200      403    200     200   200    401
POST   /robots                                     401 403 403  403    403      403    403     403   201    401
GET    /robots/spare                               401 403 403  403    200      403    200     200   200    401
PUT    /robots/spare                               401 403 403  403    403      403    403     403   200    401
PATCH  /robots/spare                               401 403 403  403    403      403    403     403   200    401
DELETE /robots/spare                               401 403 403  403    403      403    403     403   204    401
POST   /robots/spare/key                           401 403 403  403    403      403    403     403   201    401
GET    /robots/spare/status                        401 403 403  403    403      403    200     200   200    401
GET    /robots/spare/frames                        401 403 403  403    403      403    200     200   200    401
GET    /sessions                                   401 403 403  403    403      200    200     200   200    401
GET    /sessions/facets                            401 403 403  403    403      200    200     200   200    401
GET    /sessions/review                            401 403 403  403    403      200    200     200   200    401
POST   /sessions/bulk                              401 403 403  403    403      403    403     400   400    401
GET    /sessions/{ended}                           401 403 403  403    403      200    200     200   200    401
PATCH  /sessions/{ended}                           401 200 404  403    403      403    403     200   200    401
DELETE /sessions/{ended}                           401 403 403  403    403      403    403     204   204    401
DELETE /sessions/{live}                            401 403 403  403    403      403    403     409   409    401
POST   /sessions/{live}/end                        401 403 403  403    403      403    403     202   202    401
POST   /sessions/{ended}/trash                     401 403 403  403    403      403    403     200   200    401
POST   /sessions/{live}/trash                      401 403 403  403    403      403    403     409   409    401
POST   /sessions/{ended}/restore                   401 403 403  403    403      403    403     200   200    401
GET    /sessions/{ended}/position                  401 403 403  403    403      200    200     200   200    401
GET    /sessions/{ended}/marks                     401 403 403  403    403      200    200     200   200    401
POST   /sessions/{ended}/marks                     401 403 403  403    403      403    403     201   201    401
PATCH  /sessions/{marked}/marks/1795362003.5       401 403 403  403    403      403    403     200   200    401
DELETE /sessions/{marked}/marks/1795362003.5       401 403 403  403    403      403    403     200   200    401
GET    /sessions/{ended}/events                    401 403 403  403    403      200    200     200   200    401
GET    /sessions/{ended}/frames                    401 403 403  403    403      403    200     200   200    401
GET    /sessions/{ended}/series                    401 403 403  403    403      403    200     200   200    401
GET    /filters                                    401 403 403  403    403      200    200     200   200    401
POST   /filters                                    401 403 403  403    403      400    400     400   400    401
PATCH  /filters/1                                  401 403 403  403    403      404    404     404   404    401
DELETE /filters/1                                  401 403 403  403    403      404    404     404   404    401
GET    /statistics                                 401 403 403  403    403      200    200     200   200    401
GET    /exports                                    401 403 403  403    403      403    200     200   200    401
POST   /exports                                    401 403 403  403    403      403    403     202   202    401
GET    /exports/{export}                           401 403 403  403    403      403    200     200   200    401
DELETE /exports/{export}                           401 403 403  403    403      403    403     204   204    401
GET    /exports/{export}/report                    401 403 403  403    403      403    200     200   200    401
GET    /exports/{export}/report.html               401 403 403  403    403      403    200     200   200    401
GET    /exports/{export}/content                   401 403 403  403    403      403    200     200   200    401
HEAD   /exports/{export}/content                   401 403 403  403    403      403    200     200   200    401
GET    /jobs                                       401 403 403  403    403      403    200     200   200    401
GET    /jobs/{job}                                 401 403 403  403    403      403    200     200   200    401
POST   /jobs/{job}/restart                         401 403 403  403    403      403    403     200   200    401
GET    /videos                                     401 403 403  403    403      403    200     200   200    401
POST   /videos                                     401 400 400  403    403      403    403     403   400    401
GET    /videos/{video}                             401 403 403  403    403      403    200     200   200    401
DELETE /videos/{video}                             401 403 403  403    403      403    403     204   204    401
GET    /videos/{video}/content                     401 403 403  403    403      403    200     200   200    401
HEAD   /videos/{video}/content                     401 403 403  403    403      403    200     200   200    401
GET    /videos/{video}/poster                      401 403 403  403    403      403    404     404   404    401
GET    /videos/{video}/proxy                       401 403 403  403    403      403    404     404   404    401
"""

# People log in. 302 redirects to the login page without a login, and follows a POST that succeeded.
PAGES = """
method path                                         anonymous arm leg none robots sessions viewer curator admin closed
GET    /                                                  302 302 302  403    403      403    200     200   200    302
GET    /review                                            302 302 302  403    403      200    200     200   200    302
GET    /robots/arm/live                                   302 302 302  403    403      403    200     200   200    302
GET    /sessions/{ended}/replay                           302 302 302  403    403      403    200     200   200    302
GET    /hours                                             302 302 302  403    403      200    200     200   200    302
GET    /exports/list                                      302 302 302  403    403      403    200     200   200    302
GET    /exports/new                                       302 302 302  403    403      403    403     200   200    302
GET    /exports/{export}/view                             302 302 302  403    403      403    200     200   200    302
GET    /account                                           302 302 302  200    200      200    200     200   200    302
POST   /account                                           302 302 302  302    302      302    302     302   302    302
GET    /account/password/MQ/set-password                  200 200 200  200    200      200    200     200   200    200
POST   /account/password/MQ/set-password                  200 200 200  200    200      200    200     200   200    200
GET    /admin/                                            302 302 302  200    200      200    200     200   200    302
GET    /admin/login/                                      200 200 200  302    302      302    302     302   302    200
GET    /admin/password_change/                            302 302 302  200    200      200    200     200   200    302
GET    /admin/password_change/done/                       302 302 302  200    200      200    200     200   200    302
GET    /admin/autocomplete/                               302 302 302  403    403      403    403     403   403    302
GET    /admin/jsi18n/                                     302 302 302  200    200      200    200     200   200    302
GET    /admin/r/1/1/                                      302 302 302  404    404      404    404     404   404    302
GET    /admin/robots/                                     302 302 302  404    200      404    200     200   200    302
GET    /admin/elsewhere                                   302 302 302  404    404      404    404     404   404    302
POST   /admin/login/                                      200 200 200  200    200      200    200     200   200    200
POST   /admin/password_change/                            302 302 302  200    200      200    200     200   200    302
POST   /admin/logout/                                     302 302 302  200    200      200    200     200   200    302
GET    /admin/robots/robot/                               302 302 302  403    200      403    200     200   200    302
GET    /admin/robots/robot/add/                           302 302 302  403    403      403    403     403   200    302
POST   /admin/robots/robot/add/                           302 302 302  403    403      403    403     403   200    302
GET    /admin/robots/robot/spare/change/                  302 302 302  403    200      403    200     200   200    302
POST   /admin/robots/robot/spare/change/                  302 302 302  403    403      403    403     403   302    302
GET    /admin/robots/robot/spare/delete/                  302 302 302  403    403      403    403     403   200    302
POST   /admin/robots/robot/spare/delete/                  302 302 302  403    403      403    403     403   302    302
GET    /admin/robots/robot/spare/history/                 302 302 302  403    200      403    200     200   200    302
GET    /admin/robots/robot/spare/                         302 302 302  302    302      302    302     302   302    302
GET    /admin/robots/robot/spare/disabled/                302 302 302  403    403      403    403     403   200    302
POST   /admin/robots/robot/spare/disabled/                302 302 302  403    403      403    403     403   302    302
GET    /admin/robots/robot/spare/key/                     302 302 302  403    403      403    403     403   200    302
POST   /admin/robots/robot/spare/key/                     302 302 302  403    403      403    403     403   200    302
GET    /admin/teleop/teleopsession/                       302 302 302  403    403      200    200     200   200    302
GET    /admin/teleop/teleopsession/add/                   302 302 302  403    403      403    403     403   403    302
POST   /admin/teleop/teleopsession/add/                   302 302 302  403    403      403    403     403   403    302
GET    /admin/teleop/teleopsession/{ended}/change/        302 302 302  403    403      200    200     200   200    302
POST   /admin/teleop/teleopsession/{ended}/change/        302 302 302  403    403      403    403     302   302    302
GET    /admin/teleop/teleopsession/{ended}/delete/        302 302 302  403    403      403    403     200   200    302
POST   /admin/teleop/teleopsession/{ended}/delete/        302 302 302  403    403      403    403     302   302    302
GET    /admin/teleop/teleopsession/{ended}/history/       302 302 302  403    403      200    200     200   200    302
GET    /admin/teleop/teleopsession/{ended}/               302 302 302  302    302      302    302     302   302    302
GET    /admin/teleop/teleopframe/                         302 302 302  403    403      403    200     200   200    302
GET    /admin/teleop/teleopframe/add/                     302 302 302  403    403      403    403     403   403    302
POST   /admin/teleop/teleopframe/add/                     302 302 302  403    403      403    403     403   403    302
GET    /admin/teleop/teleopframe/{frame}/change/          302 302 302  403    403      403    200     200   200    302
POST   /admin/teleop/teleopframe/{frame}/change/          302 302 302  403    403      403    403     403   403    302
GET    /admin/teleop/teleopframe/{frame}/delete/          302 302 302  403    403      403    403     403   403    302
POST   /admin/teleop/teleopframe/{frame}/delete/          302 302 302  403    403      403    403     403   403    302
GET    /admin/teleop/teleopframe/{frame}/history/         302 302 302  403    403      403    200     200   200    302
GET    /admin/teleop/teleopframe/{frame}/                 302 302 302  302    302      302    302     302   302    302
GET    /admin/teleop/job/                                 302 302 302  403    403      403    200     200   200    302
GET    /admin/teleop/job/add/                             302 302 302  403    403      403    403     403   403    302
POST   /admin/teleop/job/add/                             302 302 302  403    403      403    403     403   403    302
GET    /admin/teleop/job/{job}/change/                    302 302 302  403    403      403    200     200   200    302
POST   /admin/teleop/job/{job}/change/                    302 302 302  403    403      403    403     403   403    302
GET    /admin/teleop/job/{job}/delete/                    302 302 302  403    403      403    403     403   403    302
POST   /admin/teleop/job/{job}/delete/                    302 302 302  403    403      403    403     403   403    302
GET    /admin/teleop/job/{job}/history/                   302 302 302  403    403      403    200     200   200    302
GET    /admin/teleop/job/{job}/                           302 302 302  302    302      302    302     302   302    302
GET    /admin/teleop/webhook/                             302 302 302  403    403      403    403     403   200    302
GET    /admin/teleop/webhook/add/                         302 302 302  403    403      403    403     403   200    302
POST   /admin/teleop/webhook/add/                         302 302 302  403    403      403    403     403   200    302
GET    /admin/teleop/webhook/{webhook}/change/            302 302 302  403    403      403    403     403   200    302
POST   /admin/teleop/webhook/{webhook}/change/            302 302 302  403    403      403    403     403   200    302
GET    /admin/teleop/webhook/{webhook}/delete/            302 302 302  403    403      403    403     403   200    302
POST   /admin/teleop/webhook/{webhook}/delete/            302 302 302  403    403      403    403     403   302    302
GET    /admin/teleop/webhook/{webhook}/history/           302 302 302  403    403      403    403     403   200    302
GET    /admin/teleop/webhook/{webhook}/                   302 302 302  302    302      302    302     302   302    302
GET    /admin/teleop/webhookdelivery/                     302 302 302  403    403      403    403     403   200    302
GET    /admin/teleop/webhookdelivery/add/                 302 302 302  403    403      403    403     403   403    302
POST   /admin/teleop/webhookdelivery/add/                 302 302 302  403    403      403    403     403   403    302
GET    /admin/teleop/webhookdelivery/{delivery}/change/   302 302 302  403    403      403    403     403   200    302
POST   /admin/teleop/webhookdelivery/{delivery}/change/   302 302 302  403    403      403    403     403   403    302
GET    /admin/teleop/webhookdelivery/{delivery}/delete/   302 302 302  403    403      403    403     403   403    302
POST   /admin/teleop/webhookdelivery/{delivery}/delete/   302 302 302  403    403      403    403     403   403    302
GET    /admin/teleop/webhookdelivery/{delivery}/history/  302 302 302  403    403      403    403     403   200    302
GET    /admin/teleop/webhookdelivery/{delivery}/          302 302 302  302    302      302    302     302   302    302
GET    /admin/videos/videochunk/                          302 302 302  403    403      403    200     200   200    302
GET    /admin/videos/videochunk/add/                      302 302 302  403    403      403    403     403   403    302
POST   /admin/videos/videochunk/add/                      302 302 302  403    403      403    403     403   403    302
GET    /admin/videos/videochunk/{video}/change/           302 302 302  403    403      403    200     200   200    302
POST   /admin/videos/videochunk/{video}/change/           302 302 302  403    403      403    403     403   403    302
GET    /admin/videos/videochunk/{video}/delete/           302 302 302  403    403      403    403     200   200    302
POST   /admin/videos/videochunk/{video}/delete/           302 302 302  403    403      403    403     302   302    302
GET    /admin/videos/videochunk/{video}/history/          302 302 302  403    403      403    200     200   200    302
GET    /admin/videos/videochunk/{video}/                  302 302 302  302    302      302    302     302   302    302
GET    /admin/datasets/                                   302 302 302  404    404      404    200     200   200    302
GET    /admin/datasets/export/                            302 302 302  403    403      403    200     200   200    302
GET    /admin/datasets/export/add/                        302 302 302  403    403      403    403     403   403    302
POST   /admin/datasets/export/add/                        302 302 302  403    403      403    403     403   403    302
GET    /admin/datasets/export/{export}/change/            302 302 302  403    403      403    200     200   200    302
POST   /admin/datasets/export/{export}/change/            302 302 302  403    403      403    403     403   403    302
GET    /admin/datasets/export/{export}/delete/            302 302 302  403    403      403    403     200   200    302
POST   /admin/datasets/export/{export}/delete/            302 302 302  403    403      403    403     302   302    302
GET    /admin/datasets/export/{export}/history/           302 302 302  403    403      403    200     200   200    302
GET    /admin/datasets/export/{export}/                   302 302 302  302    302      302    302     302   302    302
GET    /admin/robots/auditentry/                          302 302 302  403    403      403    403     403   200    302
GET    /admin/robots/auditentry/add/                      302 302 302  403    403      403    403     403   403    302
POST   /admin/robots/auditentry/add/                      302 302 302  403    403      403    403     403   403    302
GET    /admin/robots/auditentry/{audit}/change/           302 302 302  403    403      403    403     403   200    302
POST   /admin/robots/auditentry/{audit}/change/           302 302 302  403    403      403    403     403   403    302
GET    /admin/robots/auditentry/{audit}/delete/           302 302 302  403    403      403    403     403   403    302
POST   /admin/robots/auditentry/{audit}/delete/           302 302 302  403    403      403    403     403   403    302
GET    /admin/robots/auditentry/{audit}/history/          302 302 302  403    403      403    403     403   200    302
GET    /admin/robots/auditentry/{audit}/                  302 302 302  302    302      302    302     302   302    302
GET    /admin/robots/apitoken/                            302 302 302  403    403      403    403     403   200    302
GET    /admin/robots/apitoken/add/                        302 302 302  403    403      403    403     403   403    302
POST   /admin/robots/apitoken/add/                        302 302 302  403    403      403    403     403   403    302
GET    /admin/robots/apitoken/{user}/change/              302 302 302  403    403      403    403     403   200    302
POST   /admin/robots/apitoken/{user}/change/              302 302 302  403    403      403    403     403   403    302
GET    /admin/robots/apitoken/{user}/delete/              302 302 302  403    403      403    403     403   200    302
POST   /admin/robots/apitoken/{user}/delete/              302 302 302  403    403      403    403     403   200    302
GET    /admin/robots/apitoken/{user}/history/             302 302 302  403    403      403    403     403   200    302
GET    /admin/robots/apitoken/{user}/                     302 302 302  302    302      302    302     302   302    302
GET    /admin/auth/user/                                  302 302 302  403    403      403    403     403   200    302
GET    /admin/auth/user/add/                              302 302 302  403    403      403    403     403   200    302
POST   /admin/auth/user/add/                              302 302 302  403    403      403    403     403   200    302
GET    /admin/auth/user/{user}/change/                    302 302 302  403    403      403    403     403   200    302
POST   /admin/auth/user/{user}/change/                    302 302 302  403    403      403    403     403   200    302
GET    /admin/auth/user/{user}/delete/                    302 302 302  403    403      403    403     403   200    302
POST   /admin/auth/user/{user}/delete/                    302 302 302  403    403      403    403     403   302    302
GET    /admin/auth/user/{user}/history/                   302 302 302  403    403      403    403     403   200    302
GET    /admin/auth/user/{user}/                           302 302 302  302    302      302    302     302   302    302
GET    /admin/auth/user/{user}/link/                      302 302 302  403    403      403    403     403   200    302
POST   /admin/auth/user/{user}/link/                      302 302 302  403    403      403    403     403   200    302
GET    /admin/auth/user/{user}/password/                  302 302 302  403    403      403    403     403   200    302
POST   /admin/auth/user/{user}/password/                  302 302 302  403    403      403    403     403   200    302
GET    /admin/auth/group/                                 302 302 302  403    403      403    403     403   200    302
GET    /admin/auth/group/add/                             302 302 302  403    403      403    403     403   200    302
POST   /admin/auth/group/add/                             302 302 302  403    403      403    403     403   200    302
GET    /admin/auth/group/{group}/change/                  302 302 302  403    403      403    403     403   200    302
POST   /admin/auth/group/{group}/change/                  302 302 302  403    403      403    403     403   200    302
GET    /admin/auth/group/{group}/delete/                  302 302 302  403    403      403    403     403   200    302
POST   /admin/auth/group/{group}/delete/                  302 302 302  403    403      403    403     403   200    302
GET    /admin/auth/group/{group}/history/                 302 302 302  403    403      403    403     403   200    302
GET    /admin/auth/group/{group}/                         302 302 302  302    302      302    302     302   302    302
"""

SOCKETS = """
path            anonymous arm leg none robots sessions viewer curator admin closed
/ws/log/arm           403  in 403  403    403      403    403     403   403    403
/ws/log/leg           403 403  in  403    403      403    403     403   403    403
/ws/preview/arm       403  in 403  403    403      403    403     403   403    403
/ws/live/arm          403 403 403  403    403      403     in      in    in    403
/ws/fleet             403 403 403  403    403      403     in      in    in    403
/ws/elsewhere         403 403 403  403    403      403    403     403   403    403
"""

WHO = ["anonymous", "arm", "leg", "none", "robots", "sessions", "viewer", "curator", "admin", "closed"]
ROBOTS = ("arm", "leg")
STRANGER = "203.0.113.5"  # not this machine, which may read /metrics
BODIES = {
    ("POST", "/robots"): {"id": "new"},
    ("PUT", "/robots/spare"): {"id": "spare"},
    ("POST", "/sessions/{ended}/marks"): {"timestamp": 1795362003.5},
    ("POST", "/exports"): {"name": "cubes", "where": "robot=arm"},
    ("POST", "/admin/datasets/export/{export}/delete/"): {"post": "yes"},
    ("POST", "/admin/robots/robot/spare/delete/"): {"post": "yes"},
    ("POST", "/admin/teleop/teleopsession/{ended}/delete/"): {"post": "yes"},
    ("POST", "/admin/videos/videochunk/{video}/delete/"): {"post": "yes"},
    ("POST", "/admin/teleop/webhook/{webhook}/delete/"): {"post": "yes"},
    ("POST", "/admin/auth/user/{user}/delete/"): {"post": "yes"},
}
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
RENDERED = {"viewer", "admin"}


class Undo(Exception):
    """Error that rolls a transaction back, so that the request in it has changed nothing."""


async def notify_none(**notice: object) -> None:
    pass


@pytest.fixture(autouse=True)
def _without_log() -> Iterator[None]:
    """Turn logging off: Django logs each refusal, which takes as long as the request."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(autouse=True)
def _rendered_for_two(monkeypatch) -> None:
    """Render pages for two identities only: rendering takes most of a request, and does not change its status."""
    render = SimpleTemplateResponse.rendered_content.fget

    def rendered(response: TemplateResponse) -> str:
        return render(response) if response._request.user.username in RENDERED else ""

    monkeypatch.setattr(SimpleTemplateResponse, "rendered_content", property(rendered))


@pytest.fixture
def places(settings, tmp_path, monkeypatch) -> dict[str, int]:
    """Return the ids that stand in the paths."""
    cache.clear()
    settings.MEDIA_ROOT, settings.REFUSALS_PER_ADDRESS = tmp_path, 0
    monkeypatch.setattr(worker_messages, "notify_workers", notify_none)
    import_module("robots.migrations.0002_groups").seed(apps, None)
    import_module("teleop.migrations.0005_job").permit(apps, None)
    import_module("datasets.migrations.0001_initial").permit(apps, None)
    for robot_id in (*ROBOTS, "spare"):
        Robot.objects.create(pk=robot_id)
    ended, live, marked = (make_session([0], key="1"), make_session(key="2", is_live=True), make_session(key="3"))
    ended.frame_count = 1  # it can be exported
    ended.save()
    marked.set_marks([{"timestamp": 1795362003.5, "note": "", "by": "ada"}])
    marked.save_meta()
    video = VideoChunk(session=ended, robot_id="arm", camera_key="front", start_timestamp=1, end_timestamp=2, size=1)
    video.file_path.save("1.mp4", ContentFile(b"x"))
    user = User.objects.create_user("somebody")
    Token.objects.create(user=user)
    webhook = Webhook.objects.create(name="alarms", url="https://hooks.example.org")
    rows = {
        "webhook": webhook,
        "delivery": webhook.announce("test", "webhook", {}),
        "ended": ended,
        "live": live,
        "marked": marked,
        "video": video,
        "user": user,
        "frame": TeleopFrame.objects.get(),
        "job": Job.objects.create(kind="quality", object_id=ended.pk, attempts=3),
        "export": done(),
        "group": Group.objects.create(name="group"),
        "audit": AuditEntry.objects.create(actor_type="command", actor="x", action="changed", model="x", object_id="x"),
    }
    return {name: row.pk for name, row in rows.items()}


def people() -> dict[str, User]:
    found = {who: User.objects.create_user(who, is_staff=True) for who in WHO[3:]}
    for who in ("viewer", "curator"):
        found[who].groups.add(Group.objects.get(name=who))
    for who, codename in (("robots", "view_robot"), ("sessions", "view_teleopsession")):
        found[who].user_permissions.add(Permission.objects.get(codename=codename))
    User.objects.filter(username__in=("admin", "closed")).update(is_superuser=True)
    return found


def clients(by_token: bool) -> dict[str, Client]:
    found = {who: Client(raise_request_exception=False, REMOTE_ADDR=STRANGER) for who in WHO}
    for robot_id in ROBOTS:
        found[robot_id].defaults["HTTP_AUTHORIZATION"] = f"Bearer {Robot.objects.get(pk=robot_id).issue_key()}"
    for who, user in people().items():
        if by_token:
            found[who].defaults["HTTP_AUTHORIZATION"] = f"Token {Token.objects.create(user=user)}"
        else:
            found[who].force_login(user)
    User.objects.filter(username="closed").update(is_active=False)
    return found


def status(client: Client, method: str, path: str, places: dict[str, int]) -> int:
    """Return the status of the request, and roll its changes back."""
    data = BODIES.get((method, path), {})
    options = {} if path.startswith("/admin") or method in ("GET", "HEAD") else {"content_type": "application/json"}
    if (method, path) == ("POST", "/videos"):
        options = {}  # a form
    cookies = client.cookies.copy()  # logging out empties them
    try:
        with transaction.atomic():
            raise Undo(getattr(client, method.lower())(path.format(**places), data, **options).status_code)
    except Undo as undo:
        return undo.args[0]
    finally:
        client.cookies = cookies


def lines(table: str) -> list[list[str]]:
    return [line.split() for line in table.strip().splitlines()[1:]]


def answered(table: str, clients: dict[str, Client], places: dict[str, int]) -> list[list[str]]:
    """Return the table's lines with the statuses that the server answered."""
    return [
        [method, path, *(str(status(clients[who], method, path, places)) for who in WHO)]
        for method, path, *_ in lines(table)
    ]


@pytest.mark.django_db
@pytest.mark.timeout(240)  # 1,500 requests: 10 s alone, and more than 60 on a slow machine with other load
@pytest.mark.parametrize("by_token, table", [(True, REST), (False, PAGES)], ids=["rest", "pages"])
def test_it_answers_each_role_with_the_listed_status(places, by_token: bool, table: str):
    assert answered(table, clients(by_token), places) == lines(table)


@pytest.mark.django_db
def test_it_refuses_methods_that_are_not_listed(places):
    admin = clients(by_token=True)["admin"]
    listed = {(method, route(path)) for method, path, *_ in lines(REST)}
    paths = {route(path): path for _, path, *_ in lines(REST)}
    unlisted = [(method, paths[each]) for each in paths for method in METHODS if (method, each) not in listed]
    assert {each: found for each in unlisted if (found := status(admin, *each, places)) < 400} == {}


def routes(resolver, prefix: str = "") -> Iterator[str]:
    """Yield each route as ResolverMatch.route names it."""
    for pattern in resolver.url_patterns:
        whole = prefix + str(pattern.pattern).removeprefix("^" if prefix else "")
        if isinstance(pattern, URLPattern):
            yield whole
        else:
            yield from routes(pattern, whole)


def route(path: str) -> str:
    """Return the route of a path of the tables."""
    return resolve(path.format_map(defaultdict(lambda: 1))).route


def test_the_tables_list_every_url():
    known = {route(path) for table in (REST, PAGES) for _, path, *_ in lines(table)}
    assert sorted(set(routes(get_resolver())) - known) == []


def test_the_table_lists_every_websocket_path():
    patterns = [route.pattern for route in websocket_urlpatterns]
    found = {next(str(each) for each in patterns if each.match(path.lstrip("/"))) for path, *_ in lines(SOCKETS)}
    assert found == set(map(str, patterns))


class Door:
    """Stub of the ingest worker: an admitted robot gets no session to stream to."""

    def __init__(self) -> None:
        self.handshakes = self

    async def open(self, robot_id, key, session_key, address, has_left, places, takes_over, expected_id):
        await self.authenticate(robot_id, key, address)

    async def authenticate(self, robot_id, key, address):
        handshake = Handshake(robot_id, key, "a session", "worker.1", address)
        (admitted,) = await database_sync_to_async(admission.authenticate)([handshake])
        raise admitted if isinstance(admitted, Exception) else ServerRestarting("it is a stub")


async def closed_again(self, **kwargs: str) -> WatchClose:
    return WatchClose.RESTARTING


async def let_in(path: str, client: Client, is_page: bool) -> str:
    headers = [(b"host", b"localhost"), (b"cookie", client.cookies.output(header="", sep=";").strip().encode())]
    if is_page:
        headers.append((b"origin", b"http://localhost"))
    if key := client.defaults.get("HTTP_AUTHORIZATION"):
        headers.append((b"authorization", key.encode()))
    socket = WebsocketCommunicator(RefusalMiddleware(URLRouter(websocket_urlpatterns)), path, headers)
    await socket.send_input({"type": "websocket.connect"})
    answer = asyncio.ensure_future(socket.receive_output(5))
    done, _ = await asyncio.wait([answer, socket.future], return_when=asyncio.FIRST_COMPLETED)
    is_refused = answer in done and answer.result()["type"] == "websocket.close"
    answer.cancel()
    return "403" if is_refused else "in"


@pytest.mark.django_db(transaction=True)
def test_it_admits_only_the_listed_roles_to_each_websocket(places, settings, monkeypatch):
    settings.ALLOWED_HOSTS = ["localhost"]
    monkeypatch.setattr(consumer, "running_worker", Door)
    monkeypatch.setattr(preview_consumer, "running_worker", Door)
    for watching in (LiveConsumer, FleetConsumer):
        monkeypatch.setattr(watching, "watch", closed_again)
    everyone = clients(by_token=False)

    async def ask_all() -> list[list[str]]:
        try:
            return [
                [path, *[await let_in(path, everyone[who], is_page=who not in ROBOTS) for who in WHO]]
                for path, *_ in lines(SOCKETS)
            ]
        finally:
            await database_sync_to_async(connections.close_all)()  # the pool would miss this thread's connection

    assert asyncio.run(ask_all()) == lines(SOCKETS)
