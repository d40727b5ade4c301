"""Compiled queries return the same as Django's, and what is stored now."""

from datetime import UTC, datetime

import pytest
from rest_framework.serializers import ModelSerializer

from robots.api.authentication import OWNER
from robots.api.compiled import CompiledList, CompiledQuery
from robots.api.renderers import JSONRenderer
from robots.api.serializers import RobotSerializer
from robots.api.views import RobotViewSet
from robots.models import Robot
from teleop.api.serializers import SessionDetailSerializer, SessionSerializer, as_listed
from teleop.models import TeleopSession
from teleop.tests.recordings import make_session

pytestmark = pytest.mark.django_db


def stored_values(instance) -> dict:
    return {name: value for name, value in vars(instance).items() if name not in ("_state", "total")}


@pytest.fixture
def sessions():
    """Return sessions with each kind of value: with and without meta_info, also too large for a list, and quality."""
    made = [make_session(range(3), key=f"key-{number}") for number in range(4)]
    for session, meta_info in zip(made, (None, {"task": "Fold"}, {"note": "x" * 5000}, {}), strict=True):
        TeleopSession.objects.filter(pk=session.pk).update(meta_info=meta_info, quality={"missing_frames": 0})
    Robot.objects.filter(pk="arm").update(last_error_code="wrong_key", last_heartbeat=made[0].start_time)
    return made


@pytest.mark.parametrize("queryset", [Robot.objects.all(), as_listed(TeleopSession.objects.order_by("-id"))])
def test_it_returns_the_same_instances_as_the_queryset(sessions, queryset):
    for instance, expected in zip(CompiledQuery(queryset).fetch(), queryset.all(), strict=True):
        assert stored_values(instance) == stored_values(expected)
        assert (instance._state.adding, instance._state.db) == (False, "default")


def test_rows_have_the_same_values_as_the_instances(sessions):
    robots = RobotSerializer(Robot.objects.all(), many=True).data
    assert robots[0]["last_error"]["code"] == "wrong_key"
    assert RobotSerializer(RobotViewSet.listed.fetch(limit=10), many=True).data == robots


def test_it_reads_left_out_fields_when_they_are_used(sessions):
    compiled = CompiledQuery(as_listed(TeleopSession.objects.filter(pk=sessions[2].pk)))
    assert compiled.fetch()[0].meta_info == {"note": "x" * 5000}


def test_it_fetches_a_page_with_the_total(sessions):
    listed = CompiledList(TeleopSession.objects.order_by("pk"))
    page = listed.fetch(limit=2, offset=1)
    assert [(row.pk, row.total) for row in page] == [(session.pk, 4) for session in sessions[1:3]]
    assert listed.fetch(limit=2, offset=4) == []


def test_it_reads_the_rows_anew_each_time(sessions):
    listed = CompiledList(Robot.objects.all())
    assert listed.fetch(limit=10)[0].name is None
    Robot.objects.filter(pk="arm").update(name="left arm")
    Robot.objects.create(pk="leg")
    assert [(row.name, row.total) for row in listed.fetch(limit=10)] == [("left arm", 2), (None, 2)]


def test_it_replaces_the_parameters(admin):
    key = admin._credentials["HTTP_AUTHORIZATION"].split()[1]
    assert OWNER.fetch((key,))[0].auth_token.key == key
    assert OWNER.fetch(("another",)) == []


def test_a_filtered_queryset_is_not_compiled():
    queryset = RobotViewSet.listed.queryset()
    assert queryset.compiled is RobotViewSet.listed
    assert not hasattr(queryset.filter(status="online"), "compiled")


@pytest.mark.parametrize("number", [1, 2**70])  # orjson does not write integers past 64 bits
def test_it_writes_times_alike_with_both_encoders(number: int):
    moments = [datetime(2026, 1, 5, 8, tzinfo=UTC), datetime(2026, 1, 5, 8, 0, 0, 500, tzinfo=UTC)]
    written = JSONRenderer().render([*moments, number])
    assert written == b'["2026-01-05T08:00:00Z","2026-01-05T08:00:00.000500Z",%d]' % number


@pytest.mark.parametrize(
    "serializer, queryset",
    [
        (RobotSerializer, Robot.objects.all()),
        (SessionSerializer, as_listed(TeleopSession.objects.all())),
        (SessionDetailSerializer, TeleopSession.objects.all()),
    ],
)
def test_serializers_with_shared_fields_write_the_same_as_drf(sessions, serializer, queryset):
    def written_by_drf(instance):
        by_drf = type("ByDrf", (serializer,), {"to_representation": ModelSerializer.to_representation})
        return by_drf(instance).data

    for instance in queryset:
        written = JSONRenderer().render(serializer(instance).data)
        assert written == JSONRenderer().render(written_by_drf(instance))
