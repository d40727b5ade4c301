"""A whole session in one answer: JSON lines and Parquet."""

import io

import orjson
import pyarrow.parquet as pq
import pytest
from asgiref.sync import async_to_sync

from teleop.frames import export, parquet, sql
from teleop.frames.export import FramesGone
from teleop.tests.recordings import T0_S, arm_data, make_session, record

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(parquet, "GROUP_FRAMES", 7)
    monkeypatch.setattr(sql.read_block, "__defaults__", (4,))


@async_to_sync
async def body_of(answer) -> bytes:
    return b"".join([part async for part in answer.streaming_content])


def download(client, path, **headers):
    answer = client.get(path, headers=headers)
    assert answer.status_code == 200, answer.content
    return body_of(answer)


def lines_of(client, path):
    return [orjson.loads(line) for line in download(client, path).splitlines()]


def parquet_of(client, path):
    return pq.read_table(io.BytesIO(download(client, path))).to_pydict()


def test_json_lines_hold_the_frames_as_sent(viewer):
    session = make_session(range(10))
    assert lines_of(viewer, f"/sessions/{session.pk}/frames?format=jsonl") == [
        {"frame_index": index, "timestamp": T0_S + round(index / 60, 6), **arm_data(index)} for index in range(10)
    ]


@pytest.mark.parametrize(
    "value", ["\\", "\\\\", "\\n", 'a"b\\"', "\t\n\r\b\f\x01\x1f\x7f", "{}", "ü 机 \U0001f916", "\\N", "\\.", "x\x01{y"]
)
def test_json_lines_escape_nothing_twice(viewer, value):
    session = make_session([0], data=lambda _: {"observation": {value: value}})
    (frame,) = lines_of(viewer, f"/sessions/{session.pk}/frames?format=jsonl")
    assert frame["observation"] == {value: value}


def test_json_lines_support_range_stride_and_fields(viewer):
    session = make_session(range(30))
    found = lines_of(viewer, f"/sessions/{session.pk}/frames?format=jsonl&start=3&stop=20&stride=5&fields=action")
    assert [frame["frame_index"] for frame in found] == [3, 8, 13, 18]
    assert found[0] == {"frame_index": 3, "timestamp": T0_S + 0.05, "action": {"gripper.pos": 1}}


def test_parquet_has_one_column_per_number(viewer):
    session = make_session(range(10))
    assert parquet_of(viewer, f"/sessions/{session.pk}/frames?format=parquet") == {
        "frame_index": list(range(10)),
        "timestamp": [T0_S + round(index / 60, 6) for index in range(10)],
        "observation.shoulder_pan.pos": [index / 4 for index in range(10)],
        "observation.gripper.pos": [-index for index in range(10)],
        "action.gripper.pos": [1] * 10,
    }


def test_parquet_fills_missing_joints_with_null(viewer):
    session = make_session(range(10))
    record(session, range(10, 30), lambda index: {"observation": {"new": index, "gripper.pos": 0}})
    found = parquet_of(viewer, f"/sessions/{session.pk}/frames?format=parquet")
    assert list(found)[2:] == [
        "observation.shoulder_pan.pos",
        "observation.gripper.pos",
        "action.gripper.pos",
        "observation.new",
    ]
    assert found["observation.new"] == [None] * 10 + list(range(10, 30))
    assert found["action.gripper.pos"] == [1] * 10 + [None] * 20


def test_parquet_supports_fields(viewer):
    session = make_session(range(3))
    found = parquet_of(viewer, f"/sessions/{session.pk}/frames?format=parquet&fields=action")
    assert list(found) == ["frame_index", "timestamp", "action.gripper.pos"]


def test_parquet_of_no_frames_is_a_table_without_rows(viewer):
    session = make_session()
    assert parquet_of(viewer, f"/sessions/{session.pk}/frames?format=parquet") == {"frame_index": [], "timestamp": []}


@pytest.mark.parametrize("kind", ["application/x-ndjson", "application/vnd.apache.parquet"])
def test_the_accept_header_selects_the_format(viewer, kind):
    session = make_session(range(3))
    answer = viewer.get(f"/sessions/{session.pk}/frames", headers={"Accept": kind})
    suffix = "parquet" if "parquet" in kind else "jsonl"
    assert answer["Content-Type"] == kind
    assert answer["Content-Disposition"] == f'attachment; filename="session-{session.pk}.{suffix}"'


def test_errors_are_json_even_for_a_parquet_request(viewer):
    answer = viewer.get("/sessions/999/frames?format=parquet")
    assert (answer.status_code, answer["Content-Type"]) == (404, "application/json")
    assert "detail" in answer.json()


def test_it_returns_406_for_an_unsupported_accept_header(viewer):
    session = make_session()
    assert viewer.get(f"/sessions/{session.pk}/frames", headers={"Accept": "image/png"}).status_code == 406


def test_head_returns_an_empty_body(viewer):
    session = make_session(range(3))
    answer = viewer.head(f"/sessions/{session.pk}/frames?format=jsonl")
    assert (answer.status_code, b"".join(answer.streaming_content)) == (200, b"")


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_download_fails_if_its_frames_are_deleted(viewer, kind):
    session = make_session(range(30))
    answer = viewer.get(f"/sessions/{session.pk}/frames?format={kind}")
    with pytest.raises(FramesGone):
        _read_while_deleting(answer, session)


@async_to_sync
async def _read_while_deleting(answer, session):
    async for _ in answer.streaming_content:
        await export.database_sync_to_async(session.frames.filter(frame_index__lt=20).delete_in_batches)()
