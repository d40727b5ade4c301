"""The sidecar reads lerobot's topics, pairs them by their log time, and keeps the times steady."""

import asyncio
import json
import struct
from fractions import Fraction

import av
import numpy
import pytest
from film_fixtures import first_picture
from teleop_client.camera import film_file
from teleop_client.camera.camera import QUEUE, Camera
from teleop_client.clock import TimeBase
from teleop_client.errors import ClientClosed
from teleop_client.sidecar import images
from teleop_client.sidecar.foxglove import Channel
from teleop_client.sidecar.run import MANY_INCOMPLETE, MEASURED_TICKS, Run
from teleop_client.sidecar.scalars import scalars
from teleop_client.sidecar.steady_times import SteadyTimes

STATE, ACTION, FRONT = "/observation/state", "/action/state", "/observation/images/front"
START_S = 1_767_225_600
# Written by foxglove-sdk 0.25.3: 2x2 pixels in rgb8, and the format jpeg with the data b"abc".
RAW = "0a080880f7c4d506100515020000001d020000002204726762382d06000000320c000102030405060708090a0b3a0566726f6e74"
COMPRESSED = "0a080880f7c4d506100512036162631a046a706567220566726f6e74"


def state(**values):
    """Return the payload of a topic of scalars."""
    return json.dumps(
        {"scalars": [{"label": f"{name}.pos", "value": value} for name, value in values.items()]}
    ).encode()


def _bytes_field(number, data):
    length, varint = len(data), bytearray()
    while length > 127:
        varint.append(length & 127 | 128)
        length >>= 7
    return bytes([number << 3 | 2, *varint, length]) + data


def raw(image, encoding="rgb8", step=None, **fields):
    """Return a RawImage of an array; `fields` replace its width, height or data."""
    width, height = fields.get("width", image.shape[1]), fields.get("height", image.shape[0])
    step = image.strides[0] if step is None else step
    numbers = b"".join(struct.pack("<BI", n << 3 | 5, value) for n, value in ((2, width), (3, height), (5, step)))
    return numbers + _bytes_field(4, encoding.encode()) + _bytes_field(6, fields.get("data", image.tobytes()))


def jpeg_bytes(image):
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.height, encoder.width = image.shape[:2]
    encoder.pix_fmt, encoder.framerate = "yuvj420p", Fraction(1)
    frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(format="yuvj420p")
    return b"".join(bytes(packet) for packet in encoder.encode(frame))


def jpeg(image, name="jpeg"):
    """Return a CompressedImage of an array."""
    return _bytes_field(2, jpeg_bytes(image)) + _bytes_field(3, name.encode())


def plain(colour=(200, 100, 40), size=(48, 64)):
    return numpy.full((*size, 3), colour, numpy.uint8)


class FakeClient:
    """Takes frames and pictures in place of a client."""

    session = "session-of-the-tests"

    def __init__(self):
        self.frames, self.pictures, self.refusal, self.waiting = [], [], None, 0
        self.is_started = False

    def start(self):
        self.is_started = True
        return self

    def send(self, observation, action, timestamp):
        self.frames.append((observation, action, timestamp))
        return len(self.frames) - 1

    def camera(self, name):
        if self.refusal:
            raise self.refusal
        self.name = name
        return self

    def write(self, image, timestamp):
        self.pictures.append((self.name, image, timestamp))
        return True

    def counts(self):
        self.seen_waiting, self.waiting = self.waiting, self.waiting - 1  # it encodes a picture a look
        return {"waiting": self.seen_waiting}


class Stage:
    """A run with a fake client: `say` delivers a message of a topic, at so many seconds after the start."""

    SCHEMAS = {STATE: ("json", "lerobot.Scalars"), ACTION: ("json", "lerobot.Scalars")}

    def __init__(self, topics=(STATE, ACTION, FRONT), reader=images):
        self.client = FakeClient()
        self.now = 0.0
        self.run = Run(lambda: self.client, 30, reader, lambda: self.now)
        self.handlers = {topic: self.advertise(topic) for topic in topics}

    def advertise(self, topic, encoding="protobuf", schema="foxglove.RawImage"):
        return self.run.handler(Channel(1, topic, *self.SCHEMAS.get(topic, (encoding, schema))))

    def say(self, topic, after_s, payload):
        self.handlers[topic](round((START_S + after_s) * 1e9), memoryview(payload))

    def tick(self, after_s, value=1.0):
        self.now = after_s
        self.say(STATE, after_s, state(a=value))
        self.say(ACTION, after_s, state(a=-value))


@pytest.fixture
def stage():
    return Stage()


def test_it_pairs_an_observation_with_the_action_of_the_same_log_time(stage):
    stage.say(STATE, 1, state(a=0.5, b=2))
    stage.say(ACTION, 1, state(a=-0.5))
    assert stage.client.frames == [({"a.pos": 0.5, "b.pos": 2}, {"a.pos": -0.5}, START_S + 1)]


def test_it_leaves_out_and_counts_a_frame_whose_other_half_is_lost(stage, caplog):
    for number in range(MANY_INCOMPLETE):
        stage.now = number
        stage.say([STATE, ACTION][number % 2], number, state(a=1))
    stage.tick(MANY_INCOMPLETE)
    assert [time for *_, time in stage.client.frames] == [START_S + MANY_INCOMPLETE]
    assert stage.run.counts["incomplete"] == MANY_INCOMPLETE
    assert caplog.text.count("without their observation or action") == 1


def test_it_sends_observations_alone_while_there_is_no_topic_of_actions(stage):
    stage.run.remove(ACTION)
    for after_s in range(3):
        stage.say(STATE, after_s, state(a=after_s))
    assert [frame[:2] for frame in stage.client.frames] == [({"a.pos": 0}, None), ({"a.pos": 1}, None)]


def test_a_picture_has_the_time_of_its_frame(stage):
    stage.say(FRONT, 1, raw(plain()))
    stage.tick(1)
    ((name, image, time_s),) = stage.client.pictures
    assert (name, image.tolist(), time_s) == ("front", plain().tolist(), stage.client.frames[0][2])


def test_a_picture_of_the_next_tick_changes_no_time_of_the_last(stage):
    stage.run.remove(ACTION)
    stage.say(STATE, 1, state(a=1))
    stage.say(FRONT, 2, raw(plain()))
    stage.say(STATE, 2, state(a=2))
    stage.say(STATE, 3, state(a=3))
    assert [time for *_, time in stage.client.frames] == [START_S + 1, START_S + 2]


@pytest.mark.parametrize("encode", [raw, jpeg])
def test_a_picture_that_lerobot_displays_again_is_the_same_object(stage, encode):
    topic = "/observation/images/side"
    stage.handlers[topic] = stage.advertise(
        topic, schema=f"foxglove.{'RawImage' if encode is raw else 'CompressedImage'}"
    )
    for after_s, colour in enumerate([(9, 9, 9), (9, 9, 9), (90, 9, 9)]):
        stage.say(topic, after_s, encode(plain(colour)))
    first, second, third = (image for _, image, _ in stage.client.pictures)
    assert first is second
    assert third is not second


@pytest.mark.parametrize(
    ("topic", "payload", "reason"),
    [
        (STATE, b"\xff{", "a message of 2 bytes is no JSON"),
        (STATE, b"[" * 100_000, "is no JSON"),
        (STATE, b"[1]", "scalars is 'None'"),
        (ACTION, b'{"scalars": [{"label": 1, "value": 2}]}', "scalars contains {'label': 1"),
        (ACTION, b'{"scalars": [{"label": "a", "value": true}]}', "'value': True"),
        (FRONT, b"\x12\xff", "truncated, or no protobuf"),
        (FRONT, b"\xff" * 20, "truncated, or no protobuf"),
        (FRONT, b"\x0b", "truncated, or no protobuf"),
        (FRONT, b"", "its encoding is ''"),
        (FRONT, raw(plain(), encoding="16UC1"), "its encoding is '16UC1'; rgb8, rgba8, mono8, 8UC1 expected (depth"),
        (FRONT, raw(plain(), data=b"123"), "has rows of 192 bytes and 3 bytes in all; at least 192 and 9216 expected"),
        (FRONT, raw(plain(), width=2**32 - 1), "4294967295x48 pixels"),
    ],
)
def test_it_counts_an_unreadable_message_and_goes_on(stage, caplog, topic, payload, reason):
    for after_s in (1, 2):
        stage.say(topic, after_s, payload)
    assert (stage.run.counts["unreadable"], caplog.text.count(topic)) == (2, 1)
    assert reason in caplog.text
    stage.tick(3)
    assert len(stage.client.frames) == 1


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (jpeg(plain(), "png"), "its format is 'png'; jpeg expected"),
        (_bytes_field(2, jpeg_bytes(plain())[:30]) + _bytes_field(3, b"jpeg"), "a picture of 30 bytes is no JPEG"),
        (bytes.fromhex(COMPRESSED), "a picture of 3 bytes is no JPEG"),
    ],
)
def test_it_refuses_a_compressed_image_that_is_no_jpeg(payload, reason):
    with pytest.raises(ValueError, match=reason):
        images.compressed_image(memoryview(payload))


def test_it_leaves_out_topics_of_an_unexpected_form_with_one_sentence(stage, caplog):
    stage.SCHEMAS = {}
    for _ in range(2):
        assert stage.advertise(STATE) is None
        assert stage.advertise(FRONT, schema="foxglove.CompressedVideo") is None
    assert stage.advertise("/episode/state") is None
    assert [record.message for record in caplog.records] == [
        "the topic /observation/state is protobuf of foxglove.RawImage; json expected: it is left out",
        "the topic /observation/images/front is protobuf of foxglove.CompressedVideo; "
        "protobuf of foxglove.RawImage or foxglove.CompressedImage expected: it is left out",
    ]


def test_it_subscribes_to_no_pictures_without_a_reader(caplog):
    assert Stage(topics=(), reader=None).advertise(FRONT) is None
    assert not caplog.records


@pytest.mark.parametrize("refusal", [ValueError("camera is 'a/b'"), ClientClosed("cameras need a spool_dir")])
def test_it_does_not_subscribe_to_a_camera_that_the_client_refuses(caplog, refusal):
    stage = Stage(topics=(STATE, ACTION))
    stage.client.refusal = refusal
    assert stage.advertise(FRONT) is None
    stage.tick(1)
    assert len(stage.client.frames) == 1
    assert str(refusal) in caplog.text


def test_the_session_begins_before_its_first_topic_is_subscribed():
    stage = Stage(topics=())
    assert stage.advertise("/episode/state") is None
    assert not stage.client.is_started
    assert stage.advertise(STATE)
    assert stage.client.is_started


def test_it_does_not_wait_for_a_camera_whose_topic_is_gone(stage):
    stage.run.remove(FRONT)
    stage.client.waiting = QUEUE
    asyncio.run(stage.run.catch_up())
    assert stage.client.waiting == QUEUE
    stage.say(FRONT, 1, raw(plain()))  # of a second channel of the same topic


@pytest.mark.parametrize(("late_s", "left"), [(0, QUEUE - 1), (2, QUEUE + 5)])
def test_a_burst_of_pictures_waits_for_the_camera_unless_lerobot_is_far_ahead(stage, late_s, left):
    stage.say(FRONT, 3, raw(plain()))
    stage.now += 1 / 30 + late_s
    stage.say(FRONT, 3 + 1 / 30, raw(plain()))
    stage.client.waiting = QUEUE + 5
    asyncio.run(stage.run.catch_up())
    assert stage.client.seen_waiting == left


def test_it_warns_once_if_the_loop_has_another_rate_than_the_session(stage, caplog):
    for number in range(2 * MEASURED_TICKS):
        stage.tick(number / 60)
    assert [record.message for record in caplog.records] == [
        "lerobot's loop runs at 60.0 Hz, and --fps is 30: start this command with --fps 60"
    ]


def test_nan_and_null_are_left_to_the_client():
    values = scalars(memoryview(state(a=float("nan"), b=None)))
    assert numpy.isnan(values["a.pos"])
    assert values["b.pos"] is None


def test_it_reads_an_image_of_the_sdk():
    image = images.raw_image(memoryview(bytes.fromhex(RAW)))
    assert image.tolist() == [[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 11]]]


@pytest.mark.parametrize("encoding", ["rgb8", "rgba8", "mono8"])
def test_it_reads_rows_with_padding(encoding):
    colours = images.COLOURS[encoding]
    padded = numpy.arange(16 * 70 * colours, dtype=numpy.uint8).reshape(16, 70 * colours)
    read = images.raw_image(memoryview(raw(padded, encoding, width=64)))
    assert read.reshape(16, -1).tolist() == padded[:, : 64 * colours].tolist()


@pytest.mark.parametrize("encode", [raw, jpeg])
def test_a_camera_records_both_forms_of_images(tmp_path, encode):
    decode = images.raw_image if encode is raw else images.compressed_image
    camera = Camera("front", lambda *report: pytest.fail(str(report)))
    base = TimeBase("boot", float(START_S), 50.0, is_fixed=True)
    camera.begin(tmp_path, lambda: (0.0, base))
    assert camera.write(decode(memoryview(encode(plain()))), timestamp=START_S + 1.0)
    assert camera.close()
    (film,) = film_file.films(tmp_path)
    shown = first_picture(film)
    assert shown.shape == (48, 64, 3)
    assert numpy.abs(shown.mean((0, 1)) - (200, 100, 40)).max() < 8


def test_a_jpeg_that_cannot_be_decoded_costs_one_picture(tmp_path):
    data = jpeg_bytes(plain())
    broken = images.JpegImage(data[: data.index(b"\xff\xda")])  # a header without pixels
    reports = []
    camera = Camera("front", lambda what, facts: reports.append(facts["text"]))
    camera.begin(tmp_path, lambda: (0.0, None))
    camera.write(broken, timestamp=START_S + 1.0)
    camera.write(images.JpegImage(data), timestamp=START_S + 2.0)
    assert camera.close()
    assert (camera.counts()["dropped"], camera.counts()["encoded"], len(reports)) == (1, 1, 1)


class Times:
    """SteadyTimes with an elapsed clock that the test sets."""

    def __init__(self):
        self.now, self.steps = 50.0, []
        self.times = SteadyTimes(self.steps.append, lambda: self.now)

    def message(self, clock_s, after_s=1.0):
        """Return the time of a message that arrives after so many seconds, while lerobot's clock shows `clock_s`."""
        self.now += after_s
        return self.times.unix_s(round((START_S + clock_s) * 1e9)) - START_S


def test_times_are_those_of_lerobot_however_late_a_message_arrives():
    times = Times()
    assert [times.message(0), times.message(1), times.message(2, after_s=6), times.message(3, after_s=0.01)] == [
        0,
        1,
        2,
        3,
    ]
    assert times.steps == []


@pytest.mark.parametrize("step_s", [-3600, -0.5, 3600])
def test_times_stay_steady_when_the_clock_of_lerobot_is_set(step_s):
    times = Times()
    seen = [times.message(second + step_s * (second > 2), after_s=0.25) for second in numpy.arange(1, 4, 0.25)]
    assert numpy.allclose(numpy.diff(seen), 0.25, atol=1e-6)
    assert numpy.allclose(times.steps, [step_s], atol=1e-6)


def test_all_messages_of_a_tick_have_the_same_time():
    times = Times()
    assert times.message(1) == times.message(1, after_s=3)
    assert times.steps == []
