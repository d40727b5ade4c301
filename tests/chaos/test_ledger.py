"""Check that the ledger finds faults: in rows made up here, and in the rows of a sabotaged server."""

import json
from collections.abc import Callable

import pytest

from tests.chaos.environment import serving, sqlite_file
from tests.chaos.fleet import Fleet
from tests.chaos.ledger import Ledger, StoredFrame, StoredSession, digest
from tests.chaos.scenarios import all_end, kill
from tests.chaos.simulated_robot import frame_data
from tests.services import wait_until

SENT = 10


@pytest.fixture
def ledger() -> Ledger:
    """Return the ledger of an arm that has sent ten frames and ended."""
    ledger = Ledger()
    record = ledger.record("arm", "morning-run")
    record.meta_info = {"task": "Fold the towel"}
    record.note_received({"type": "session", "next_frame_index": 0})
    for index in range(SENT):
        record.note_sent(index, 1703318400.25 + index, frame_data(index))
    record.note_received({"type": "ack", "frame_index": 7})
    record.note_received({"type": "ended", "frame_count": SENT})
    return ledger


def stored() -> list[StoredFrame]:
    times = [f"2023-12-23 08:00:0{index}.25+00" for index in range(SENT)]
    return [StoredFrame("arm", "morning-run", i, times[i], json.dumps(frame_data(i))) for i in range(SENT)]


def session(**changes) -> list[StoredSession]:
    ends = "2023-12-23 08:00:00.25", "2023-12-23 08:00:09.250000"
    return [
        StoredSession("arm", "morning-run", SENT, *ends, "offline", '{"task": "Fold the towel"}')._replace(**changes)
    ]


def reordered(data: str) -> str:
    return json.dumps(dict(reversed(json.loads(data).items())))


def test_it_reports_no_fault_for_correct_rows(ledger: Ledger):
    assert ledger.faults(session(), stored()) == []


@pytest.mark.parametrize(
    "change, fault",
    [
        (lambda rows: rows.pop(7), "acknowledged frames are not stored, the first is 7"),
        (lambda rows: rows.insert(3, rows[3]), "frame 3 is stored twice"),
        (lambda rows: rows.append(rows[9]._replace(frame_index=10)), "frame 10 was never sent"),
        (lambda rows: rows.append(rows[9]._replace(session_key="another")), "frame 9 is of no known session"),
        (lambda rows: rows.append(rows[4]._replace(data=rows.pop(4).data.replace("1", "2", 1))), "frame 4 has other"),
        (lambda rows: rows.append(rows[4]._replace(data=reordered(rows.pop(4).data))), "frame 4 has other data"),
        (lambda rows: rows.append(rows[4]._replace(timestamp=rows.pop(4).timestamp[:-3] + "1")), "has the timestamp"),
    ],
)
def test_it_finds_a_wrong_frame(ledger: Ledger, change: Callable, fault: str):
    rows = stored()
    change(rows)
    assert fault in "\n".join(ledger.faults(session(), rows))


@pytest.mark.parametrize(
    "change, fault",
    [
        ({"frame_count": 9}, "frame_count says 9, stored are 10"),
        ({"end_time": None}, "left live"),
        ({"start_time": "2023-12-23 08:00:01.25"}, "its frames"),
        ({"end_time": "2023-12-23 08:00:08.25"}, "its frames"),
        ({"robot_status": "online"}, "left online"),
        ({"key": "another"}, "no session"),
        ({"meta_info": None}, "meta_info is None"),
        ({"meta_info": '{"task": "Iron the shirt"}'}, "meta_info is {'task': 'Iron the shirt'}"),
    ],
)
def test_it_finds_a_wrong_session(ledger: Ledger, change: dict, fault: str):
    assert fault in "\n".join(ledger.faults(session(**change), stored()))


def test_it_finds_a_second_session(ledger: Ledger):
    assert "the session is unknown" in ledger.faults(session() + session(key="made-again"), stored())[0]


def test_it_finds_sent_frames_neither_acknowledged_nor_stored(ledger: Ledger):
    ledger.record("arm", "morning-run").acked_through = 7
    assert ledger.faults(session(), stored()[:9])[0] == "arm: 1 frames were sent and are not stored, the first is 9"


def test_it_requires_only_acknowledged_frames_of_an_interrupted_client(ledger: Ledger):
    record = ledger.record("arm", "morning-run")
    record.ended, record.acked_through = None, 8
    changed = session(frame_count=9, end_time="2023-12-23 08:00:08.25")
    assert ledger.faults(changed, stored()[:9]) == []


def unreturned(ledger: Ledger) -> list[StoredFrame]:
    """Add a frame whose `send` was killed, and return the rows if it was stored."""
    ledger.record("arm", "morning-run").unreturned.add(digest(frame_data(SENT)))
    time = "2023-12-23 08:00:10.25+00"
    return [*stored(), StoredFrame("arm", "morning-run", SENT, time, json.dumps(frame_data(SENT)))]


def test_it_accepts_a_frame_whose_send_was_killed_once(ledger: Ledger):
    record = ledger.record("arm", "morning-run")
    record.ended = SENT + 1
    rows, changed = unreturned(ledger), session(frame_count=SENT + 1, end_time="2023-12-23 08:00:10.25")
    assert ledger.faults(changed, rows) == []
    rows = [*unreturned(ledger), rows[-1]._replace(frame_index=SENT + 1)]
    assert "frame 11 was never sent" in "\n".join(ledger.faults(changed, rows))


@pytest.mark.parametrize("begin, end, is_found", [(-2.0, -1.0, True), (-1.0, 1.0, False), (1.0, 2.0, True)])
def test_it_finds_a_timestamp_outside_the_time_of_the_send(ledger: Ledger, begin: float, end: float, is_found: bool):
    time = 1703318400.25 + 4
    ledger.record("arm", "morning-run").note_sent(4, time + begin, frame_data(4), latest=time + end)
    assert ("frame 4 has the timestamp" in "\n".join(ledger.faults(session(), stored()))) is is_found


@pytest.mark.parametrize("skipped, dropped, is_found", [(0, 0, True), (2, 0, False), (1, 1, False), (3, 0, True)])
def test_it_finds_indexes_that_are_missing_and_not_announced(
    ledger: Ledger, skipped: int, dropped: int, is_found: bool
):
    record = ledger.record("arm", "morning-run")
    record.dropped, record.ended = dropped, SENT - 2
    for index in (4, 5):
        del record.sent[index]
    rows = [row for row in stored() if row.frame_index in record.sent]
    faults = ledger.faults(session(frame_count=SENT - 2, skipped_frames=skipped), rows)
    assert ("not skipped" in "\n".join(faults)) is is_found
    assert len(faults) == is_found


def test_it_finds_a_greeting_below_the_last_acknowledged_frame(ledger: Ledger):
    ledger.record("arm", "morning-run").note_received({"type": "session", "next_frame_index": 5})
    assert "greeted with 5" in ledger.faults(session(), stored())[0]


@pytest.mark.long
def test_it_catches_a_server_that_acknowledges_before_the_commit():
    with (
        sqlite_file() as url,
        serving(url, how="ack_before_commit") as server,
        Fleet(server.url, Ledger(), count=5) as fleet,
    ):
        wait_until(lambda: fleet.acked > 30 * len(fleet.robots), what="acks for frames that are not stored yet")
        kill(fleet, server, times=1)
        with pytest.raises(AssertionError, match="after the ack of"):
            all_end(fleet, url)


@pytest.mark.long
def test_it_catches_a_server_that_drops_one_frame_in_2000():
    with (
        sqlite_file() as url,
        serving(url, how="drop_one_in_2000") as server,
        Fleet(server.url, Ledger(), count=5, fps=500) as fleet,
    ):
        wait_until(lambda: fleet.ledger.sent > 2_400, 20, "frames enough for one to be dropped")
        with pytest.raises(AssertionError, match="1 acknowledged frames are not stored"):
            all_end(fleet, url)
