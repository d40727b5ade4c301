"""Unusual requests to every endpoint of /schema, with all of schemathesis' checks.

`SCHEMA_CASES=200 pytest tests/test_schema.py` sends thousands.
"""

import os
from datetime import UTC, datetime

import pytest
import schemathesis
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.wsgi import get_wsgi_application
from hypothesis import HealthCheck, settings
from rest_framework.authtoken.models import Token
from schemathesis.config import SchemathesisConfig
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation import GenerationMode
from schemathesis.schemas import BaseSchema

from datasets.models import Export
from datasets.tests.export_rows import done
from robots.models import Robot
from teleop.models import TeleopFrame, TeleopSession
from videos.models import VideoChunk
from videos.tests.video_files import film

CASES_AN_ENDPOINT = int(os.environ.get("SCHEMA_CASES", 3))
START = datetime(2026, 1, 5, 8, tzinfo=UTC)
TOKEN = "a" * 40
ACCEPTED = ["2xx", "401", "403", "404", "409", "429", "503"]
REFUSED = ["4xx", "503"]

# OpenAPI cannot express parameters that depend on each other (`from` is before `to`, `after_id` or `offset`, a cursor
# that the server gave), files that are videos, names of time zones, valid ranges, and strings without NUL
# (robots/tests/test_rest_robots.py sends NUL).
CONFIG = {
    "headers": {"Authorization": f"Token {TOKEN}", "Accept-Encoding": "identity"},
    "generation": {"allow-x00": False},
    "phases": {"coverage": {"enabled": "SCHEMA_CASES" in os.environ}},  # the limits of every parameter: 20 s of CPU
    "operations": [
        {
            "include-path": path,
            "checks": {
                "positive_data_acceptance": {"expected-statuses": [*ACCEPTED, "400", "416"]},
                "negative_data_rejection": {"expected-statuses": REFUSED},
            },
        }
        for path in (
            "/robots",
            "/exports",
            "/exports/{id}/content",
            "/filters",
            "/filters/{id}",
            "/jobs",
            "/sessions",
            "/sessions/bulk",
            "/sessions/facets",
            "/sessions/review",
            "/sessions/{id}/position",
            "/robots/{id}/frames",
            "/sessions/{id}/events",
            "/sessions/{id}/frames",
            "/sessions/{id}/marks",
            "/sessions/{id}/marks/{timestamp}",
            "/sessions/{id}/series",
            "/statistics",
            "/videos",
            "/videos/{id}/content",
        )
    ],
}

pytestmark = [pytest.mark.once, pytest.mark.timeout(3600)]
budget = settings(max_examples=CASES_AN_ENDPOINT, stateful_step_count=6, suppress_health_check=list(HealthCheck))

schema = schemathesis.pytest.from_fixture("openapi")  # read at run time: at collection each process takes 3 s of CPU


@pytest.fixture
def openapi(request: pytest.FixtureRequest) -> BaseSchema:
    request.node._nodeid = request.node.nodeid  # schemathesis 4.32 reads it, and pytest 9.2 has renamed it
    config = SchemathesisConfig.from_dict(CONFIG)
    return schemathesis.openapi.from_wsgi("/schema", get_wsgi_application(), config=config)


@pytest.fixture(autouse=True)
def _administrator(transactional_db):
    Token.objects.create(user=User.objects.create_superuser("schemathesis"), key=TOKEN)


def existing(path: str) -> str | int:
    """Return the id of an existing object, as the last one may just have been deleted."""
    if path.startswith("/exports"):
        Export.objects.filter(name="towels").delete()
        return done().pk
    robot, _ = Robot.objects.get_or_create(pk="robot_A.json", defaults={"meta_info": {"site": "lab 2"}})
    if path.startswith("/robots"):
        return robot.pk
    times = {"start_time": START, "end_time": START}
    session, is_new = TeleopSession.objects.get_or_create(robot=robot, key="morning-run", defaults=times)
    if is_new:
        data = {"observation": {"shoulder_pan.pos": 1.5}, "action": {"joint_positions": [1, 2]}}
        TeleopFrame.objects.create(session=session, robot=robot, frame_index=7, timestamp=START, data=data)
    if path.startswith("/sessions"):
        return session.pk
    times = {"start_timestamp": START.timestamp(), "end_timestamp": START.timestamp() + 1}
    video = VideoChunk(session=session, camera_key="front", **times)
    return video.keep(SimpleUploadedFile("front.mp4", film()))[0].pk


def is_asked_well(case) -> bool:
    path = case.meta.components.get(ParameterLocation.PATH)
    return path is not None and path.mode == GenerationMode.POSITIVE


@schema.parametrize()
@budget
def test_it_conforms_to_the_schema(case):
    if "id" in (case.path_parameters or {}) and is_asked_well(case):
        case.path_parameters["id"] = existing(case.path)
    case.call_and_validate(headers=CONFIG["headers"])


def test_it_conforms_to_the_schema_over_a_sequence_of_requests(openapi: BaseSchema):
    """Created objects can be read, and deleted objects answer 404."""

    class Story(openapi.as_state_machine()):
        def setup(self):
            Robot.objects.all().delete()

    Story.run(settings=budget)
