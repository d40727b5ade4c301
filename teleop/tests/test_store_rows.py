"""Every way into the table stores the same rows, byte for byte."""

from functools import partial

import orjson
import pytest
from django.db import connection

from robots.models import Robot
from teleop.ingest import isolation, store
from teleop.ingest.parse import parse
from teleop.ingest.types import Row
from teleop.models import TeleopFrame, TeleopSession
from teleop.protocol import MAX_DATA_BYTES, MAX_TIMESTAMP, MIN_TIMESTAMP

pytestmark = pytest.mark.django_db(transaction=True)

OBSERVATIONS = [
    {"z": 1, "a": {"y": 2, "b": 3}, "m": [1, 2]},  # the order of keys
    {"numbers": [0.1, -0.0, 5e-324, 1.7976931348623157e308, 1e22, 1.0, 2**64 - 1, -(2**63), 1703318400.1234567]},
    {"quotes": "'\"`$$;--", "percent": "%s %(x)s %%", "braces": "{}[]"},
    {"backslashes": "\\ \\\\ \\n \\N \\. \\u0000 \\x00", "lines": "a\tb\nc\rd\u2028e\x1f\x7f"},
    {"unicode": "Grüße 机器人 \U0001f916 e\u0301 \ufeff", "ключ": 1, "": "empty"},
    {"types": [None, True, False, {}, [], ""]},
    {"large": "x" * (MAX_DATA_BYTES - 100)},
    {},
]
TIMESTAMPS = [
    MIN_TIMESTAMP,
    MAX_TIMESTAMP - 0.000001,
    1703318400,
    1703318400.1,
    1703318400.123456,
    1703318400.1234567,
    1703318399.9999996,
    4000000000.000001,
]


@pytest.fixture
def session():
    return TeleopSession.objects.create(robot=Robot.objects.create(pk="robot_A-1.x"), key="morning-run")


@pytest.fixture
def rows(session) -> list[Row]:
    frames = [
        {"frame_index": index * 1000, "timestamp": timestamp, "observation": observation, "action": {"b": 1, "a": 2}}
        for index, (timestamp, observation) in enumerate(zip(TIMESTAMPS, OBSERVATIONS, strict=True))
    ]
    return [Row(session.pk, session.robot_id, *parse(orjson.dumps(frame))) for frame in frames]


@pytest.fixture(params=["fast path", "bulk_create", "isolation", "isolation with bulk_create"])
def write(request, settings):
    """Return each way to store a group: INGEST_WRITER=auto is COPY or executemany; failed groups go to isolation."""
    settings.INGEST_WRITER = "bulk_create" if "bulk_create" in request.param else "auto"
    return partial(isolation.write, inserts=store.inserts()) if "isolation" in request.param else store.write


def stored() -> list[Row]:
    """Return the rows of the table, `data` as its bytes."""
    data = "data::text" if connection.vendor == "postgresql" else "data"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {data} FROM teleop_teleopframe ORDER BY session_id, frame_index")
        texts = [text.encode() for (text,) in cursor.fetchall()]
    frames = TeleopFrame.objects.order_by("session", "frame_index")
    return [
        Row(frame.session_id, frame.robot_id, frame.frame_index, _microseconds(frame.timestamp), text)
        for frame, text in zip(frames, texts, strict=True)
    ]


def _microseconds(timestamp) -> int:
    return int(timestamp.timestamp()) * 1_000_000 + timestamp.microsecond


def test_it_stores_every_row_as_it_was_sent(write, rows):
    assert not any(write(rows))
    assert stored() == rows


def test_it_reads_data_back_in_its_key_order(write, rows):
    write(rows)
    data = TeleopFrame.objects.order_by("frame_index").first().data
    assert orjson.dumps(data) == rows[0].data
    assert list(data["observation"]) == ["z", "a", "m"]


def test_it_finds_rows_by_time(write, rows):
    write(rows)
    found = TeleopFrame.objects.filter(timestamp__gte=rows[2].timestamp, timestamp__lt=rows[3].timestamp)
    assert sorted(frame.frame_index for frame in found) == [2000, 6000]


def test_it_stores_a_group_of_4096(write, session):
    rows = [Row(session.pk, session.robot_id, index, MIN_TIMESTAMP * 10**6 + index, b"{}") for index in range(4096)]
    assert not any(write(rows))
    assert stored() == rows


@pytest.mark.parametrize("writer, most", [("auto", 1), ("bulk_create", 4)])
def test_it_writes_a_group_with_few_statements(writer, most, rows, settings, django_assert_max_num_queries):
    settings.INGEST_WRITER = writer
    extra = 2 if connection.vendor == "sqlite" else 0  # BEGIN and COMMIT are counted there
    with django_assert_max_num_queries(most + extra):
        store.write(rows)


def test_isolation_runs_at_most_11_statements_for_many_rows_of_a_session(rows, django_assert_max_num_queries):
    with django_assert_max_num_queries(11):
        isolation.write(rows, store.inserts())
