"""The frames of one episode, sent to a server: faults, bounds and labels. The datasets' films are left out here."""

import asyncio
import errno
import inspect
import math
import re
from dataclasses import replace

import pytest
from fake_server import FakeServer
from push_fixtures import FPS, LENGTHS, V3_H264
from teleop_client.encoding import MAX_FRAME_BYTES
from teleop_client.protocol import ClientProtocol
from teleop_client.push import episode as sending
from teleop_client.push.dataset import open_dataset
from teleop_client.push.episode import EpisodeSender, meta_info
from teleop_client.push.recording_time import RecordingTime, offset_us
from teleop_client.push.target import Target

SESSION, BEGIN_S = "session-of-the-tests", 1779019200.0


@pytest.fixture
def dataset():
    return open_dataset(V3_H264)


@pytest.fixture
def send(dataset):
    """Return a function that sends an episode to a server with these switches; it returns the result and the server."""

    def send(number=0, server=None, is_time_given=True, **labels):
        async def run():
            async with server or FakeServer() as running:
                time = RecordingTime.of(dataset, BEGIN_S if is_time_given else None)
                sender = EpisodeSender(Target(running.url, "arm"), dataset, time)
                episode = replace(dataset.episodes[number], films={}, labels=labels)
                return await asyncio.to_thread(sender.send, episode, SESSION, lambda text: None), running

        return asyncio.run(run())

    return send


def test_it_sends_the_time_of_each_row(send):
    result, server = send(1)
    frames = server.sessions[SESSION]
    assert (result.frames_sent, result.faults) == (LENGTHS[1], [])
    first_us = round(BEGIN_S * 1e6) + offset_us(LENGTHS[0], FPS)
    assert [frames[row]["timestamp"] for row in range(LENGTHS[1])] == [
        (first_us + offset_us(row, FPS)) / 1e6 for row in range(LENGTHS[1])
    ]


def test_it_takes_the_time_that_the_dataset_knows(send):
    _, server = send(1, start_time=1700000000.25)
    assert server.sessions[SESSION][3]["timestamp"] == 1700000000.35


def test_it_does_not_take_a_time_that_the_server_refuses(send):
    _, server = send(0, start_time=3.0)
    assert server.sessions[SESSION][0]["timestamp"] == BEGIN_S


def test_it_names_labels_that_are_too_large(send):
    result, server = send(0, tags=["night"] * 20_000)
    assert result.faults == ["meta_info is over 65536 bytes"]
    assert not server.sessions


def test_it_counts_and_names_refused_frames(send):
    server = FakeServer()
    server.refuse = {3, 4}
    result, _ = send(server=server)
    assert (result.frames_sent, result.frames_refused) == (LENGTHS[0] - 2, 2)
    assert result.faults[0] == "frame 3 refused: invalid_frame: refused by the test"


def test_it_names_frames_that_the_server_does_not_have(send):
    server = FakeServer()
    server.sessions[SESSION] = {LENGTHS[0] - 1: {"timestamp": BEGIN_S}}
    result, _ = send(server=server)
    assert result.faults == [f"the session has 1 frames on the server; {LENGTHS[0]} expected"]


def test_it_sends_only_rows_that_the_server_does_not_have(send):
    server = FakeServer()
    server.sessions[SESSION] = {row: {"timestamp": 1700000000 + row / FPS} for row in range(10)}
    result, _ = send(server=server)
    assert (result.frames_known, result.frames_sent, server.duplicates) == (10, LENGTHS[0] - 10, 0)
    assert server.sessions[SESSION][30]["timestamp"] == 1700000001


def test_it_keeps_few_frames_in_memory(send, monkeypatch):
    monkeypatch.setattr(sending, "MAX_UNACKNOWLEDGED", 10)
    most, flush = [], sending.RobotClient.flush

    def noted(client, timeout):
        most.append(client.stats.pending)
        flush(client, timeout)

    monkeypatch.setattr(sending.RobotClient, "flush", noted)
    send()
    assert len(most) == LENGTHS[0] // 10 + 1
    assert max(most) <= 10


def test_it_needs_a_server_that_knows_the_time_of_its_frames(send):
    server = FakeServer()
    server.sessions[SESSION] = {0: {"timestamp": None}}
    result, _ = send(server=server)
    assert result.is_stopped
    assert "the server has 1 frames, and does not say their time: it is older than this client" in result.faults[0]


def test_it_stops_if_the_server_is_away(dataset, monkeypatch):
    monkeypatch.setattr(sending, "PATIENCE_S", 0.1)
    monkeypatch.setattr(sending, "WAIT_SHOWN_S", 0.05)
    sender, shown = EpisodeSender(Target("ws://127.0.0.1:9", "arm"), dataset, RecordingTime.of(dataset, None)), []
    result = sender.send(dataset.episodes[0], SESSION, shown.append)
    assert result.is_stopped
    assert re.match(r"the server did not answer within 0 s: 127\.0\.0\.1:9 refused .*; push again", result.faults[0])
    assert shown[0].startswith("waiting for the server: 127.0.0.1:9 refused the connection")


def test_it_counts_the_frames_that_were_sent_before_the_disk_failed(send, monkeypatch):
    def fail(sender, episode, start_us, result):
        raise OSError(errno.ENOSPC, "No space left on device", "film.mp4")

    monkeypatch.setattr(EpisodeSender, "_send_films", fail)
    result, server = send()
    assert (result.frames_sent, len(server.sessions[SESSION])) == (LENGTHS[0], LENGTHS[0])
    assert result.faults == ["[Errno 28] No space left on device: 'film.mp4'"]
    assert not result.is_stopped


def test_it_holds_no_more_than_the_client_does_without_dropping_frames():
    most = inspect.signature(ClientProtocol).parameters["max_held_bytes"].default
    assert most >= sending.MAX_UNACKNOWLEDGED * MAX_FRAME_BYTES


def test_it_names_values_that_the_server_cannot_store_with_their_count(send, monkeypatch):
    rows = [{"observation": {"a": math.nan if row < 3 else 1.0}} for row in range(LENGTHS[0])]
    monkeypatch.setattr(sending, "frames", lambda *_: iter(rows))
    result, _ = send()
    assert result.notes == ["observation.a is nan; a finite number expected (3 frames)"]


def test_it_marks_a_guessed_time_unless_an_earlier_push_has_set_the_time(send):
    def marks(server):
        return [message.get("meta_info", {}).get("time_is_guessed") for message in server.messages if "type" in message]

    assert marks(send(is_time_given=False)[1]) == [None, True]  # of `start` and `end`
    server = FakeServer()
    send(server=server)
    send(server=server, is_time_given=False)
    assert marks(server) == [None] * 4
    server = FakeServer()
    server.sessions[SESSION] = {0: {"timestamp": BEGIN_S}}  # of a push that was interrupted
    assert marks(send(server=server, is_time_given=False)[1]) == [None, True]


def test_it_keeps_the_labels_of_an_episode(dataset):
    labels = {"success": False, "tags": ["night"], "operator": "ada", "start_time": 1700000000.25}
    episode = replace(dataset.episodes[0], tasks=("Fold", "Unfold"), labels=labels)
    found = meta_info(dataset, episode)
    assert {name: found[name] for name in ("task", "tasks", "success", "operator")} == {
        "task": "Fold",
        "tasks": ["Fold", "Unfold"],
        "success": False,
        "operator": "ada",
    }
    assert not {"start_time", "time_is_guessed"} & found.keys()
