"""The frames of one episode, sent to a server: faults, bounds and labels. The datasets' films are left out here."""

import asyncio
from dataclasses import replace

import pytest
from fake_server import FakeServer
from push_fixtures import FPS, LENGTHS, V3_H264
from teleop_client.push import episode as sending
from teleop_client.push.dataset import open_dataset
from teleop_client.push.episode import EpisodeSender, meta_info
from teleop_client.push.recording_time import RecordingTime, offset_us
from teleop_client.push.target import PushStopped, Target

SESSION, BEGIN_S = "session-of-the-tests", 1779019200.0


@pytest.fixture
def dataset():
    return open_dataset(V3_H264)


@pytest.fixture
def send(dataset):
    """Return a function that sends an episode to a server with these switches; it returns the result and the server."""

    def send(number=0, server=None, turns=1, **labels):
        async def run():
            async with server or FakeServer() as running:
                sender = EpisodeSender(
                    Target(running.url, "arm"), dataset, RecordingTime.of(dataset, BEGIN_S), lambda text: None
                )
                episode = replace(dataset.episodes[number], films={}, labels=labels)
                for _ in range(turns):
                    result = await asyncio.to_thread(sender.send, episode, SESSION)
                return result, running

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
    with pytest.raises(PushStopped, match="has 1 frames of episode 0, and does not say their time: it is older"):
        send(server=server)


def test_it_stops_if_the_server_is_away(dataset, monkeypatch):
    monkeypatch.setattr(sending, "PATIENCE_S", 0.1)
    sender = EpisodeSender(Target("ws://127.0.0.1:9", "arm"), dataset, RecordingTime.of(dataset, None), print)
    with pytest.raises(PushStopped, match=r"episode 0: .*127\.0\.0\.1:9 refused the connection.*; push again"):
        sender.send(dataset.episodes[0], SESSION)


def test_it_keeps_the_labels_of_an_episode(dataset):
    labels = {"success": False, "tags": ["night"], "operator": "ada", "start_time": 1700000000.25}
    episode = replace(dataset.episodes[0], tasks=("Fold", "Unfold"), labels=labels)
    found = meta_info(dataset, episode, RecordingTime.of(dataset, None))
    assert {name: found[name] for name in ("task", "tasks", "success", "operator")} == {
        "task": "Fold",
        "tasks": ["Fold", "Unfold"],
        "success": False,
        "operator": "ada",
    }
    assert not {"start_time", "time_is_guessed"} & found.keys()
    guessed = meta_info(dataset, replace(episode, labels={}), RecordingTime.of(dataset, None))
    assert guessed["time_is_guessed"] is True
