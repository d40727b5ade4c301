import pytest

from teleop.live.recent import RecentFrames


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def recent(clock):
    return RecentFrames(max_age_s=5, max_bytes=100, clock=clock)


def test_each_reader_gets_the_frames_since_its_position(recent):
    recent.add([b"0", b"1"])
    frames, missed, position = recent.since(0)
    recent.add([b"2"])
    assert (frames, missed) == ([b"0", b"1"], 0)
    assert recent.since(position) == ([b"2"], 0, 3)
    assert recent.since(0) == ([b"0", b"1", b"2"], 0, 3)
    assert recent.since(3) == ([], 0, 3)


def test_it_drops_and_counts_frames_past_the_maximum_age(recent, clock):
    recent.add([b"0", b"1"])
    clock.now += 5
    recent.add([b"2"])
    assert recent.since(1) == ([b"1", b"2"], 0, 3)
    clock.now += 0.1
    recent.add([b"3"])
    assert recent.since(1) == ([b"2", b"3"], 1, 4)


def test_it_drops_and_counts_frames_past_the_maximum_size(recent):
    recent.add([b"x" * 40] * 1000)
    assert recent.since(900) == ([b"x" * 40] * 2, 98, 1000)
    recent.add([b"x" * 101])
    assert recent.since(1000) == ([], 1, 1001)


def test_it_counts_lost_frames(recent):
    recent.add([b"0"])
    recent.add([b"5"], lost=4)
    assert recent.since(0) == ([b"0", b"5"], 4, 6)
    assert recent.since(3) == ([b"5"], 2, 6)


def test_it_counts_cleared_frames_that_were_not_read(recent):
    recent.add([b"0", b"1"])
    recent.clear()
    recent.add([b"2"])
    assert recent.since(1) == ([b"2"], 1, 3)
