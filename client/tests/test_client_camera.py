"""A camera records pictures without delaying the robot's loop, and reports its faults."""

import errno
import itertools
import json
import os
import subprocess
import sys
import threading
import time

import numpy
import pytest
from film_fixtures import HEIGHT, WIDTH, first_picture, picture, times
from hostile import Object
from teleop_client.camera import film_chunk, film_file, film_image, film_recorder
from teleop_client.camera.camera import Camera
from teleop_client.camera.film_recorder import Picture, Recorder, Recording
from teleop_client.clock import TimeBase
from teleop_client.errors import FrameInvalid


class Stage:
    """A recorder with a clock that the test sets, and the reports of it."""

    def __init__(self, folder, **options):
        self.folder, self.options = folder, {"fps": 30} | options
        self.now = 1000.0
        self.room = True
        self.base = TimeBase("boot", 1_767_225_600.0, 50.0, is_fixed=True)
        self.reports = []
        self.recorder = Recorder("front", self.report, clock=lambda: self.now, **self.options)
        self.recording = self.new_recording("one")

    def report(self, what, facts):
        self.reports.append((what, facts[what]))
        assert facts["camera"] == "front"
        assert facts["text"].startswith("camera front: ")

    def new_recording(self, session):
        return Recording(self.folder / session / "front", lambda: (0.0, self.base), lambda: self.room)

    def take(self, image, after_s=1 / 30, time_s=None, base=...):
        """Deliver an image so many seconds after the last one."""
        self.now += after_s
        time_s = self.now - 1000 if time_s is None else time_s
        self.recorder.take(Picture(image, self.recording, time_s, self.base if base is ... else base))
        self.look()

    def look(self, after_s=0.0):
        self.now += after_s
        self.recorder.look(self.recording, is_idle=True)

    def run(self, seconds, fps=30, image=picture, **options):
        for number in range(round(seconds * fps)):
            self.take(image(number), 1 / fps, **options)

    def end(self):
        self.recorder.look(None, is_idle=True)
        return self.films("one")

    def films(self, session):
        return film_file.films(self.folder / session)

    def count(self, name):
        return self.recorder.counts[name]


@pytest.fixture
def stage(tmp_path):
    return Stage(tmp_path)


@pytest.fixture(autouse=True)
def _no_sync(monkeypatch):
    monkeypatch.setattr(film_file, "sync_soon", lambda *paths: None)


@pytest.fixture
def camera(tmp_path):
    """Return a function that makes a camera and begins a session; the test's end closes all."""
    made, reports = [], []

    def make(**options):
        camera = Camera("front", lambda what, facts: reports.append((what, facts[what], facts["text"])), **options)
        made.append(camera)
        base, frames = TimeBase("boot", 1_767_225_600.0, 50.0), itertools.count()
        camera.begin(tmp_path, lambda: (next(frames) / 30, base))
        return camera

    make.reports, make.folder = reports, tmp_path
    yield make
    for each in made:
        each.close()


def until(condition, timeout_s=10):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.002)


def about(film):
    return json.loads(film.with_suffix(".json").read_text())


# Images


class Tensor:
    """A tensor of torch on a GPU: `detach` and `cpu` bring it to the memory, where numpy reads it."""

    dtype = "torch.uint8"

    def __init__(self, array, is_here=False):
        self.array, self.shape, self.is_here = array, array.shape, is_here

    def detach(self):
        return self

    def cpu(self):
        return Tensor(self.array, True)

    def clone(self):
        return Tensor(self.array.copy(), self.is_here)

    def __array__(self, dtype=None, copy=None):
        assert self.is_here
        return self.array


class PilImage:
    def __init__(self, array, mode="RGB"):
        self.array, self.mode, self.size = array, mode, (array.shape[1], array.shape[0])

    def __array__(self, dtype=None, copy=None):
        return self.array


def coloured(red=200, green=100, blue=40, alpha=None, size=(WIDTH, HEIGHT)):
    values = [red, green, blue] if alpha is None else [red, green, blue, alpha]
    return numpy.full((size[1], size[0], len(values)), values, numpy.uint8)


PLANAR = numpy.ascontiguousarray(coloured().transpose(2, 0, 1))
GREY = (120, 120, 120)
IMAGES = {
    "RGB": (coloured(), "rgb", (200, 100, 40)),
    "BGR": (coloured(), "bgr", (40, 100, 200)),
    "RGBA": (coloured(alpha=0), "rgb", (200, 100, 40)),
    "BGRA": (coloured(alpha=9), "bgr", (40, 100, 200)),
    "grey": (numpy.full((HEIGHT, WIDTH), 120, numpy.uint8), "rgb", GREY),
    "grey with an axis": (numpy.full((HEIGHT, WIDTH, 1), 120, numpy.uint8), "bgr", GREY),
    "planar": (PLANAR, "rgb", (200, 100, 40)),
    "planar grey": (numpy.full((1, HEIGHT, WIDTH), 120, numpy.uint8), "rgb", GREY),
    "planar BGR": (PLANAR, "bgr", (40, 100, 200)),
    "view of every second pixel": (coloured(size=(128, 96))[::2, ::2], "rgb", (200, 100, 40)),
    "part": (coloured(size=(100, 90))[10:58, 10:74], "rgb", (200, 100, 40)),
    "reversed colours": (coloured()[..., ::-1], "bgr", (200, 100, 40)),
    "upside down": (coloured()[::-1], "rgb", (200, 100, 40)),
    "mirrored": (coloured()[:, ::-1], "rgb", (200, 100, 40)),
    "Fortran's order": (numpy.asfortranarray(coloured()), "rgb", (200, 100, 40)),
    "broadcast": (numpy.broadcast_to(numpy.uint8([200, 100, 40]), (HEIGHT, WIDTH, 3)), "rgb", (200, 100, 40)),
    "odd size": (coloured(size=(65, 49)), "rgb", (200, 100, 40)),
    "odd planar": (numpy.ascontiguousarray(coloured(size=(65, 49)).transpose(2, 0, 1)), "rgb", (200, 100, 40)),
    "tensor": (Tensor(PLANAR), "rgb", (200, 100, 40)),
    "PIL": (PilImage(coloured()), "rgb", (200, 100, 40)),
    "read-only": (numpy.frombuffer(coloured().tobytes(), numpy.uint8).reshape(HEIGHT, WIDTH, 3), "rgb", (200, 100, 40)),
}


@pytest.mark.parametrize(("image", "channels", "colour"), IMAGES.values(), ids=IMAGES)
def test_it_records_an_image(tmp_path, image, channels, colour):
    stage = Stage(tmp_path, channels=channels)
    film_image.check(image)
    stage.take(image)
    (film,) = stage.end()
    shown = first_picture(film)
    assert shown.shape == (HEIGHT, WIDTH, 3)
    assert shown.mean(axis=(0, 1)) == pytest.approx(numpy.array(colour), abs=4)
    assert stage.reports == []


def test_it_reads_an_image_without_copying_it_where_its_layout_allows_it():
    for image in (coloured(), coloured(size=(100, 90))[10:58, 10:74], coloured(size=(65, 49)), IMAGES["grey"][0]):
        assert numpy.shares_memory(film_image.pixels(image), image)


class Unread(numpy.ndarray):
    def __array__(self, *_):
        raise AssertionError("it was read")


NO_IMAGES = {
    "floats": numpy.zeros((HEIGHT, WIDTH, 3), numpy.float32),
    "depth": numpy.zeros((HEIGHT, WIDTH), numpy.uint16),
    "signed": numpy.zeros((HEIGHT, WIDTH), numpy.int8),
    "booleans": numpy.zeros((HEIGHT, WIDTH), bool),
    "two colours": numpy.zeros((HEIGHT, WIDTH, 2), numpy.uint8),
    "a batch": numpy.zeros((1, 3, HEIGHT, WIDTH), numpy.uint8),
    "a row": numpy.zeros(WIDTH, numpy.uint8),
    "a scalar": numpy.uint8(3),
    "empty": numpy.zeros((0, 0, 3), numpy.uint8),
    "tiny": numpy.zeros((15, WIDTH, 3), numpy.uint8),
    "huge": numpy.broadcast_to(numpy.uint8(0), (HEIGHT, 8193, 3)),
    "palette": PilImage(coloured(), "P"),
    "a list": coloured().tolist(),
    "bytes": b"x" * 1000,
    "nothing": None,
    "hostile": Object(),
}


@pytest.mark.parametrize("image", NO_IMAGES.values(), ids=NO_IMAGES)
def test_it_refuses_an_object_that_is_no_image_with_one_report(camera, image):
    front = camera()
    assert [front.write(image), front.write(image), front.write(picture())] == [False, False, True]
    assert front.flush()
    assert (front.counts()["invalid"], front.counts()["encoded"]) == (2, 1)
    ((what, kind, text),) = camera.reports
    assert (what, kind.split()[0]) == ("error", "image")
    assert text.startswith("camera front: an image ")
    strict = camera(strict=True)
    with pytest.raises(ValueError, match="camera front") as caught:
        strict.write(image)
    assert isinstance(caught.value, FrameInvalid)
    assert caught.value.key == "front"


def test_it_drops_an_image_that_cannot_be_read(camera):
    class Lies(Tensor):
        def cpu(self):
            return self

        def __array__(self, dtype=None, copy=None):
            raise RuntimeError("on a device")

    front = camera()
    for image in (Lies(PLANAR), Lies(PLANAR), picture()):
        assert front.write(image)
        assert front.flush()
    assert (front.counts()["dropped"], front.counts()["encoded"]) == (2, 1)
    assert [report[:2] for report in camera.reports] == [("error", "image")]


def test_it_reports_an_error_again_in_another_session(stage):
    for session in ("one", "one", "two"):
        if session == "two":
            stage.recording = stage.new_recording(session)
        stage.take(picture(), time_s=1.0)
        stage.take(picture(1), time_s=0.5)
    assert stage.reports == [("error", "time")] * 2


def test_write_does_not_read_the_image(camera, monkeypatch):
    front, reading = camera(), threading.Event()
    monkeypatch.setattr(film_recorder.film_image, "pixels", lambda image: reading.set() or image[:48, :64])
    image = numpy.zeros((2160, 3840, 3), numpy.uint8).view(Unread)
    assert front.write(image)
    assert reading.wait(5)


def test_it_records_by_reference_or_a_copy(stage, tmp_path, camera):
    front = camera()
    images = []
    front._recorder.take = lambda entry: images.append(entry.image)
    given = [picture(), Tensor(PLANAR)]
    for image in given:
        front.write(image)
        front.write(image, copy=True)
        front.flush()
    assert [images[0] is given[0], images[1] is given[0], images[2] is given[1], images[3] is given[1]] == [
        True,
        False,
        True,
        False,
    ]
    assert (images[1] == given[0]).all()


def test_it_survives_an_image_that_is_changed_after_write(camera):
    front, image = camera(), picture()
    for number in range(50):
        image[:] = number
        front.write(image)
        image[:] = number + 100
    assert front.close()
    counts = front.counts()
    assert counts["written"] == 50 == counts["encoded"] + counts["dropped"] + counts["repeated"]


# The queue and the thread


@pytest.mark.parametrize("size", [(480, 640, 3), (480, 640), (3, 48, 64)])
def test_a_burst_of_small_pictures_waits(camera, size):
    front, may_go_on = camera(), threading.Event()
    take = front._recorder.take
    front._recorder.take = lambda entry: may_go_on.wait(10) and take(entry)
    images = [numpy.full(size, number, numpy.uint8) for number in range(31)]
    assert all(front.write(image) for image in images)
    assert front.counts()["waiting"] == 31
    may_go_on.set()
    assert front.close(30)
    assert (front.counts()["encoded"], front.counts()["dropped"]) == (31, 0)


def test_a_full_queue_drops_the_oldest_pictures(camera, monkeypatch):
    monkeypatch.setattr("teleop_client.camera.camera.QUEUE", 2)
    monkeypatch.setattr("teleop_client.camera.camera.QUEUE_BYTES", 0)
    front, may_go_on, taken = camera(), threading.Event(), []
    take = front._recorder.take

    def slow(entry):
        taken.append(entry.image)
        assert may_go_on.wait(10)
        take(entry)

    front._recorder.take = slow
    images = [picture(number) for number in range(6)]
    assert front.write(images[0])
    until(lambda: taken)
    assert all(front.write(image) for image in images[1:])
    assert front.counts() == {
        **dict.fromkeys(("encoded", "repeated", "disordered", "invalid", "not_running"), 0),
        "written": 6,
        "dropped": 3,
        "waiting": 3,
    }
    may_go_on.set()
    assert front.close()
    assert [next(n for n, image in enumerate(images) if image is each) for each in taken] == [0, 4, 5]
    assert (front.counts()["encoded"], front.counts()["waiting"]) == (3, 0)


def test_it_takes_pictures_only_while_a_session_runs(camera):
    front = camera()
    assert front.write(picture(0))
    assert front.end()
    assert not front.write(picture(1))
    front.begin(camera.folder / "second", lambda: (1.0, TimeBase(None, 0.0, 0.0)))
    assert front.write(picture(2))
    assert front.close()
    assert not front.write(picture(3))
    assert (front.counts()["encoded"], front.counts()["not_running"]) == (2, 2)
    assert len(film_file.films(camera.folder)) == len(film_file.films(camera.folder / "second")) == 1


def test_a_new_session_completes_the_films_of_the_one_before(camera):
    front = camera()
    front.write(picture(0))
    front.begin(camera.folder / "second", lambda: (1.0, TimeBase(None, 0.0, 0.0)))
    assert front.flush()
    assert len(film_file.films(camera.folder)) == 1
    until(lambda: not list(camera.folder.glob("*/*.part.mp4")))


def test_a_picture_that_fails_does_not_end_the_recording(camera, monkeypatch):
    front = camera()
    take, failing = front._recorder.take, [True]
    monkeypatch.setattr(front._recorder, "take", lambda entry: 1 / 0 if failing.pop() else take(entry))
    failing.insert(0, False)
    front.write(picture(0))
    front.flush()
    front.write(picture(1))
    assert front.flush()
    assert front.counts()["encoded"] == 1
    assert [report[:2] for report in camera.reports] == [("error", "unexpected")]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_records_nothing(camera):
    front = camera()
    assert front.write(picture())
    if not (pid := os.fork()):
        is_right = not front.write(picture()) and front.end(0.1) and front.close(0.1)
        os._exit(0 if is_right else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert front.close()
    assert front.counts()["encoded"] == 1


def test_it_needs_pyav_only_for_recording():
    code = """
import sys
sys.modules["av"] = None
from teleop_client.camera import film_upload
from teleop_client.camera.camera import Camera
try:
    Camera("front", print)
except ImportError:
    assert "numpy" not in sys.modules
    sys.exit(7)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 7


@pytest.mark.parametrize(
    "options",
    [
        *({"name": name} for name in ("", "a b", "a..b", ".a", "ä", "refused", "x" * 101, "a/b", "a\n")),
        *({"fps": fps} for fps in (0, -1, float("nan"), 1001)),
        *({"crf": crf} for crf in (-1, 52)),
        {"channels": "yuv"},
    ],
    ids=str,
)
def test_it_refuses_unusable_options(options):
    options = {"name": "observation.images.front"} | options
    with pytest.raises(ValueError, match="expected"):
        Camera(options.pop("name"), print, **options)


# Times and films


def test_films_are_ten_seconds_long_and_follow_one_another_without_a_gap(stage):
    stage.run(25, fps=10)
    films = stage.end()
    starts = [about(film)["start"]["unix_s"] for film in films]
    ends = [
        start + film_chunk.repack(film, film.with_suffix(".upload")) for start, film in zip(starts, films, strict=True)
    ]
    assert [len(times(film)) for film in films] == [100, 100, 50]
    assert starts[0] == pytest.approx(1_767_225_600.1)
    assert starts[1:] == pytest.approx(ends[:-1], abs=0.0001)
    assert stage.recorder.encoded == 250


def test_a_film_notes_the_moment_in_the_time_base_until_that_is_fixed(stage):
    stage.base.is_fixed = False
    stage.take(picture(), time_s=12.5)
    (film,) = stage.end()
    assert about(film)["start"] == {"since_s": 12.5, "base": {"boot": "boot", "elapsed_s": 50.0}}


def test_a_timestamp_of_the_program_is_kept(camera):
    front = camera()
    for number in range(3):
        front.write(picture(number), timestamp=1_767_225_700.0 + number / 10)
        front.flush()
    front.write(picture(3), timestamp="now")
    assert front.close()
    first, *_ = film_file.films(camera.folder)
    assert about(first)["start"] == {"unix_s": 1_767_225_700.0}
    assert times(first) == pytest.approx([0, 0.1, 0.2], abs=0.0001)
    assert [report[:2] for report in camera.reports] == [("error", "timestamp")]
    assert front.counts()["written"] == 4


def test_it_drops_pictures_that_are_not_later_than_the_one_before(stage):
    for time_s in (1.0, 1.0, 0.5, 1.000001, 1.1):
        stage.take(picture(int(time_s * 1e6) % 50 + len(stage.reports)), time_s=time_s)
    (film,) = stage.end()
    assert times(film) == pytest.approx([0, 0.1], abs=0.0001)
    assert (stage.count("disordered"), stage.reports) == (3, [("error", "time")])


def test_a_pause_ends_the_film(stage):
    stage.run(1)
    stage.look(3.0)
    assert len(stage.films("one")) == 1
    stage.run(1)
    films = stage.end()
    starts = [about(film)["start"]["unix_s"] for film in films]
    assert starts[1] - starts[0] == pytest.approx(4.0, abs=0.1)
    assert film_chunk.repack(films[0], films[0].with_suffix(".upload")) == pytest.approx(1.0, abs=0.01)


def test_a_restart_goes_on_with_the_numbers_of_the_films(stage, tmp_path):
    stage.run(0.2)
    stage.end()
    again = Stage(tmp_path)
    again.run(0.2)
    assert sorted(film.name for film in again.end()) == ["000001.mp4", "000002.mp4"]


# The same picture


def test_a_picture_that_is_delivered_twice_is_encoded_once(stage):
    for number in range(30):
        image = picture(number)
        stage.take(image, 1 / 60)
        stage.take(image, 1 / 60)
    (film,) = stage.end()
    assert (len(times(film)), stage.count("repeated"), stage.recorder.encoded) == (30, 30, 30)


def test_an_image_that_the_camera_changes_in_place_is_new(stage):
    image = picture()
    for number in range(10):
        image[:] = picture(number)
        stage.take(image)
    stage.end()
    assert (stage.recorder.encoded, stage.count("repeated")) == (10, 0)


def test_a_picture_that_stays_is_encoded_once_a_second(stage):
    image = picture()
    stage.run(4.5, image=lambda number: image)
    (film,) = stage.end()
    assert times(film) == pytest.approx([0, 1, 2, 3, 4], abs=0.15)
    assert stage.count("repeated") == 135 - 5


# Faults


def test_it_reports_a_camera_that_has_stopped_once_until_it_goes_on(stage):
    stage.run(1)
    stage.look(2.4)
    assert stage.reports == []
    for _ in range(10):
        stage.look(0.5)
    assert stage.reports == [("fault", "stopped")]
    stage.run(6)
    stage.look(3)
    assert stage.reports == [("fault", "stopped")] * 2


def test_a_camera_that_promises_little_has_not_stopped_between_two_pictures(tmp_path):
    stage = Stage(tmp_path, fps=0.3)
    stage.run(120, fps=0.3)
    assert stage.reports == []
    stage.look(11)
    assert stage.reports == [("fault", "stopped")]


def test_it_reports_no_stop_before_the_first_picture_or_after_the_session(stage):
    stage.look(10)
    stage.run(1)
    stage.end()
    stage.recorder.look(None, is_idle=True)
    stage.now += 100
    stage.recorder.look(None, is_idle=True)
    stage.recording = stage.new_recording("two")
    stage.look(100)
    assert stage.reports == []


@pytest.mark.parametrize("is_same", [True, False], ids=["same object", "other objects"])
def test_it_reports_a_frozen_camera_once_until_it_moves(stage, is_same):
    image = picture()
    stage.run(1)
    stage.run(2.9, image=lambda number: image if is_same else image.copy())
    assert stage.reports == []
    stage.run(3, image=lambda number: image if is_same else image.copy())
    assert stage.reports == [("fault", "frozen")]
    stage.run(6)
    stage.run(3.5, image=lambda number: image)
    assert stage.reports == [("fault", "frozen")] * 2


def test_it_reports_a_slow_camera_once_until_it_is_fast_enough(stage):
    stage.run(6, fps=25)
    assert stage.reports == []
    stage.run(4.9, fps=20)
    assert stage.reports == [("fault", "slow")]
    stage.run(20, fps=20)
    assert stage.reports == [("fault", "slow")]
    stage.run(12)
    stage.run(6, fps=20)
    assert stage.reports == [("fault", "slow")] * 2


def test_it_counts_repeated_pictures_as_none(stage):
    for number in range(150):
        image = picture(number)
        for _ in range(3):
            stage.take(image, 1 / 60)  # 20 FPS, in a loop at 60 Hz
    assert stage.reports == [("fault", "slow")]


def test_a_camera_that_promises_nothing_is_not_slow(tmp_path):
    stage = Stage(tmp_path, fps=None)
    stage.run(12, fps=2)
    assert stage.reports == []


def test_a_stop_is_not_slow(stage):
    stage.run(6)
    stage.look(4)
    stage.run(4)
    assert stage.reports == [("fault", "stopped")]


def pause(stage, seconds):
    for _ in range(round(seconds / 0.5)):
        stage.now += 0.5
        stage.recorder.look(stage.recording, is_idle=True, is_paused=True)


def test_it_expects_no_pictures_while_no_frames_are_sent(stage):
    stage.run(6)
    pause(stage, 10)
    stage.run(6)
    assert stage.reports == []


def test_it_reports_a_camera_that_does_not_come_back_with_the_frames(stage):
    stage.run(1)
    pause(stage, 10)
    stage.look(2.4)
    assert stage.reports == []
    stage.look(0.2)
    assert stage.reports == [("fault", "stopped")]


@pytest.mark.parametrize(("moment", "is_paused"), [((0.0, None), True), (None, False)], ids=["of a frame", "own"])
def test_images_of_frames_pause_with_the_frames(camera, monkeypatch, moment, is_paused):
    one, seen = camera(frame_s=lambda: 0.0), []
    monkeypatch.setattr(one._recorder, "look", lambda *arguments: seen.append(arguments[2]))
    one.write_at(moment, picture(1))
    until(lambda: seen[-1:] == [is_paused])


def test_another_size_begins_another_film(stage):
    stage.run(2)
    stage.run(2, image=lambda number: picture(number, (80, 60)))
    films = stage.end()
    assert [(about(film)["width"], about(film)["height"]) for film in films] == [(WIDTH, HEIGHT), (80, 60)]
    assert [len(times(film)) for film in films] == [60, 60]
    assert stage.reports == [("fault", "resized")]


def test_pictures_of_two_sizes_in_turn_do_not_fill_the_disk_with_films(stage):
    stage.run(4, image=lambda number: picture(number, (80, 60) if number % 2 else (WIDTH, HEIGHT)))
    assert len(stage.end()) <= 5
    assert stage.reports == [("fault", "resized")]
    assert stage.recorder.encoded + stage.count("dropped") == 120


def test_a_session_may_have_another_size_than_the_one_before(stage):
    stage.run(1)
    stage.recording = stage.new_recording("two")
    stage.run(1, image=lambda number: picture(number, (80, 60)))
    stage.end()
    assert (len(stage.films("one")), len(stage.films("two")), stage.reports) == (1, 1, [])


# What can fail


def test_an_encoder_that_is_not_there_is_replaced_with_one_report(tmp_path):
    stage = Stage(tmp_path, encoder="h264_nvenc")
    stage.run(21, fps=5)
    films = stage.end()
    assert [about(film)["encoder"] for film in films] == ["libx264"] * 3
    assert (stage.recorder.encoded, stage.count("dropped")) == (105, 0)
    assert stage.reports[0] == ("error", "encoder")
    assert ("error", "encoder") not in stage.reports[1:]


def test_without_any_encoder_pictures_are_dropped_with_one_report(stage, monkeypatch):
    monkeypatch.setattr(film_recorder, "SOFTWARE", "libx264_is_not_built_in")
    stage.recorder._encoder = "libx264_is_not_built_in"
    stage.run(4)
    assert (stage.count("dropped"), stage.recorder.encoded) == (120, 0)
    assert stage.reports == [("error", "encoder")]
    assert list(stage.folder.glob("*/*/*")) == []


def test_an_encoder_that_fails_is_replaced(tmp_path, monkeypatch):
    stage = Stage(tmp_path)
    stage.recorder._encoder = "h264_nvenc"
    monkeypatch.setattr(film_recorder, "Chunk", chunk_of_libx264)
    stage.run(1)

    class Broken:
        name = "h264_nvenc"

        def encode(self, frame=None):
            raise OSError(errno.ENODEV, "no device")

    stage.recorder._chunk._stream = Broken()
    stage.run(1)
    films = stage.end()
    assert [len(times(film)) for film in films] == [30, 29]
    assert (stage.count("dropped"), stage.reports) == (1, [("error", "encoder")])


def chunk_of_libx264(*args, encoder, **options):
    return film_chunk.Chunk(*args, **options)


def test_it_begins_no_film_while_there_is_no_room(stage):
    stage.room = False
    stage.run(3)
    assert (stage.count("dropped"), stage.films("one"), stage.reports) == (90, [], [("error", "room")])
    stage.room = True
    stage.run(3)
    assert len(stage.end()) == 1
    assert 60 <= stage.recorder.encoded <= 90
    assert stage.reports == [("error", "room")]


FILLS_THE_DISK = """
import resource, sys
from pathlib import Path
from test_client_camera import Stage, noise, times
stage = Stage(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
stage.run(6, image=noise)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
full = list(stage.reports)
before = stage.recorder.encoded
stage.run(3, image=noise)
films = stage.end()
shown = sum(len(times(film)) for film in films)
print(full, before, shown, stage.recorder.encoded, stage.count("dropped"), len(films))
"""


def noise(number):
    return numpy.random.default_rng(number).integers(0, 255, (96, 128, 3), numpy.uint8)


def test_a_full_disk_costs_pictures_only_while_it_is_full(tmp_path):
    environment = os.environ | {"PYTHONPATH": os.path.dirname(__file__)}
    run = [sys.executable, "-c", FILLS_THE_DISK, str(tmp_path)]
    output = subprocess.run(run, capture_output=True, text=True, check=True, env=environment).stdout
    full, rest = output.rsplit("]", 1)
    before, shown, encoded, dropped, films = map(int, rest.split())
    assert full + "]" == "[('error', 'disk')]"
    assert 0 < before < 180
    assert shown == encoded >= before + 55
    assert (encoded + dropped, films > 2) == (270, True)
    assert list(tmp_path.glob("*/*/*.part*")) == []
