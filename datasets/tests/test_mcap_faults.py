"""Faults in the frames, the metadata and the structure of an MCAP file: the verification finds each."""

import json
from dataclasses import replace

import pytest
from mcap.writer import IndexType

from datasets.tests.frozen import entry_of, manifest_of
from datasets.tests.mcap_files import findings, report_event, rewrite, write
from datasets.verification.mcap import verify
from teleop.tests.recordings import T0_S, make_session

pytestmark = [pytest.mark.django_db, pytest.mark.once]
STATE = "/observation/state"
T0_NS = T0_S * 10**9


def altered(number: int, **changes):
    """Return a change of the message of this frame."""
    return lambda found: [replace(each, **changes) if each.sequence == number else each for each in found]


def scalars(**values: float) -> bytes:
    return json.dumps({"scalars": [{"label": f"{name}.pos", "value": each} for name, each in values.items()]}).encode()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            altered(7, data=scalars(shoulder_pan=1.7500000000000002, gripper=-7.0)),
            "shoulder_pan.pos is '1.7500000000000002'; '1.75' expected",
        ),
        (altered(0, data=scalars(shoulder_pan=0.0, gripper=-0.0)), "frame 0: gripper.pos is '-0.0'; '0.0' expected"),
        (altered(7, data=scalars(shoulder_pan=1.75)), "frame 7: gripper.pos is 'None'; '-7.0' expected"),
        (altered(7, log_time=T0_NS + 116_667_001, publish_time=T0_NS + 116_667_001), "its time in ns"),
        (altered(7, publish_time=0), "has publish_time 0"),
        (altered(7, sequence=6), "state of frame 7 is missing"),
        (lambda found: [each for each in found if each.sequence != 7], "/observation/state of frame 7 is missing"),
        (lambda found: [*found, found[-1]], "the number of messages of frames is 41; 40 expected"),
    ],
)
def test_it_finds_a_changed_message(tmp_path, change, expected):
    entry = entry_of(make_session(range(20)))
    rewrite(write(tmp_path, entry), STATE, change)
    assert expected in findings(tmp_path, entry)


def test_it_finds_a_label_that_is_not_that_of_the_manifest(tmp_path):
    entry = entry_of(make_session(range(3)))
    write(tmp_path, entry)
    assert "the metadata" in findings(tmp_path, replace(entry, success=False))


def test_it_finds_a_missing_event(tmp_path):
    session = make_session(range(3))
    write(tmp_path, entry_of(session))
    report_event(session)
    assert "the events is []" in findings(tmp_path, entry_of(session))


@pytest.mark.parametrize(
    ("index_types", "expected"),
    [(IndexType.ALL ^ IndexType.MESSAGE, "messages of each channel in the index"), (IndexType.MESSAGE, "chunk_count")],
)
def test_it_finds_a_missing_index(tmp_path, index_types, expected):
    entry = entry_of(make_session(range(3)))
    rewrite(write(tmp_path, entry), index_types=index_types)
    assert expected in findings(tmp_path, entry)


def test_it_finds_missing_statistics(tmp_path):
    entry = entry_of(make_session(range(3)))
    rewrite(write(tmp_path, entry), use_statistics=False)
    assert "the number of statistics records is 0; 1 expected" in findings(tmp_path, entry)


def test_it_finds_a_damaged_byte(tmp_path):
    entry = entry_of(make_session(range(30)))
    path = write(tmp_path, entry)
    content = bytearray(path.read_bytes())
    content[900] ^= 1
    path.write_bytes(content)
    assert "cannot be read" in findings(tmp_path, entry)


def test_it_finds_a_file_that_ends_too_early(tmp_path):
    entry = entry_of(make_session(range(30)))
    path = write(tmp_path, entry)
    path.write_bytes(path.read_bytes()[:-100])
    assert "cannot be read" in findings(tmp_path, entry)


def test_it_finds_a_missing_file(tmp_path):
    entry = entry_of(make_session(range(3)))
    write(tmp_path, entry).unlink()
    assert "the list of files" in findings(tmp_path, entry)


def test_it_finds_no_fault_in_a_file_that_was_only_copied(tmp_path):
    entry = entry_of(make_session(range(20)))
    rewrite(write(tmp_path, entry))
    assert verify(tmp_path, manifest_of([entry], format="mcap")).rows == 20
