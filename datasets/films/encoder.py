"""Encode pictures with fixed settings, so that the same pictures give the same bytes."""

import os
from collections.abc import Collection, Iterable, Iterator
from fractions import Fraction
from io import BytesIO

import av
from av.codec.context import Flags
from av.filter import Graph
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.format import VideoFormat
from av.video.frame import PictureType
from av.video.reformatter import ColorRange, VideoReformatter

from datasets.films import h264
from datasets.films.sizes import even

os.environ.setdefault("SVT_LOG", "1")  # errors only; the AV1 encoder writes 20 lines for each film otherwise

PIXEL_FORMAT = "yuv420p"
ENCODERS = {"h264": "libx264", "av1": "libsvtav1"}
# There are no B-pictures: with them the first time of an mp4 is not 0, or it needs an edit list.
# H.264: a key picture in ten and fastdecode are better than LeRobot's g=2 with CABAC: a random picture of 640 x 480
# takes 5.0 instead of 7.3 ms, and a film has a third of the bytes (tests/bench/dataset_films.py --settings). With
# zerolatency, which leaves no B-pictures, encoding is faster by a fifth, at the same quality and size.
# AV1: with presets 10 and 12 (LeRobot's) some pictures kept a part of the picture before, which the verification found.
# Preset 8 with g=10 takes as long as 12 with g=2. enable-tf=0: no picture is blended with its neighbours.
OPTIONS = {
    "h264": {
        "preset": "veryfast",
        "tune": "fastdecode,zerolatency",
        "crf": "23",
        "g": "10",
        # Films of robots number their parameter sets from 0. With another number both fit into one file.
        "x264-params": "sps-id=31",
    },
    "av1": {"preset": "8", "crf": "30", "g": "10", "svtav1-params": "lp=1:enable-tf=0"},
}
COLORS = ("color_primaries", "color_trc", "colorspace")
RGB = 0  # a colorspace, of which the encoder's pictures are not


class Form:
    """The form that all pictures of a film get, which is that of its first one but for an odd row or column."""

    def __init__(self, first: av.VideoFrame):
        self._source = (first.width, first.height)
        self.width, self.height = even(first.width), even(first.height)
        is_rgb = first.format.is_rgb or first.colorspace == RGB
        self.colors = {} if is_rgb else {name: int(getattr(first, name)) for name in COLORS}
        self.key = (self.width, self.height, *self.colors.values())
        self._reformatter = VideoReformatter()
        self._crop = self._make_crop() if self._source != (self.width, self.height) else None

    def of(self, picture: av.VideoFrame) -> av.VideoFrame:
        """Return the picture, which has the size of the first one, in this form; perhaps the same object."""
        if picture.format.name != PIXEL_FORMAT or picture.color_range == ColorRange.JPEG:
            picture = self._reformatter.reformat(picture, format=PIXEL_FORMAT, dst_color_range=ColorRange.MPEG)
        if self._crop:
            self._crop.vpush(picture)
            picture = self._crop.vpull()
        return picture

    def _make_crop(self) -> Graph:
        width, height = self._source
        graph = Graph()
        graph.threads = 1
        source = graph.add_buffer(width=width, height=height, format=VideoFormat(PIXEL_FORMAT), time_base=Fraction(1))
        crop = graph.add("crop", f"{self.width}:{self.height}:0:0")
        graph.link_nodes(source, crop, graph.add("buffersink")).configure()
        return graph


class Header:
    """The stream and the parameter sets (SPS, PPS) that are the same for all encoders of pictures of one form."""

    def __init__(self, codec: str, fps: int, form: Form):
        file = BytesIO()
        with av.open(file, "w", format="mp4", container_options={"movflags": "empty_moov+frag_keyframe"}) as container:
            prepare(container.add_stream(ENCODERS[codec], rate=fps).codec_context, codec, fps, form)
            container.start_encoding()
        file.seek(0)
        self._film = av.open(file, format="mp4")
        self.stream = self._film.streams.video[0]
        self.sets = frozenset(sets_of(codec, self.stream.codec_context.extradata))


def sets_of(codec: str, extradata: bytes) -> tuple[bytes, ...]:
    """Return what a decoder has to know before the first packet, in pieces; () if it is not as mp4 stores it."""
    return h264.parameter_sets(extradata) or () if codec == "h264" else (extradata,)


def is_compatible(sets: Collection[bytes], codec: str) -> bool:
    """Check that one film can have these sets: each has its own number, or there is only one."""
    return len({h264.number_of(each) for each in sets}) == len(sets) if codec == "h264" else len(sets) == 1


def encode(codec: str, fps: int, form: Form, pictures: Iterable[av.VideoFrame]) -> Iterator[Packet]:
    """Yield a packet, as mp4 stores it, for each picture; the first is a key picture."""
    context = av.CodecContext.create(ENCODERS[codec], "w")
    prepare(context, codec, fps, form)
    unit = Fraction(1, fps)
    for number, given in enumerate(pictures):
        picture = form.of(given)
        picture.pts, picture.time_base, picture.pict_type = number, unit, PictureType.NONE
        yield from (_stored(packet, codec) for packet in context.encode(picture))
    yield from (_stored(packet, codec) for packet in context.encode(None))


def prepare(context: VideoCodecContext, codec: str, fps: int, form: Form) -> None:
    """Give an encoder that is not open yet the settings of all films of this form."""
    context.width, context.height, context.pix_fmt = form.width, form.height, PIXEL_FORMAT
    context.time_base, context.framerate = Fraction(1, fps), Fraction(fps)
    context.thread_count = 1  # another number gives other bytes
    context.options = OPTIONS[codec]
    context.color_range = ColorRange.MPEG
    context.flags |= Flags.global_header
    for name, value in form.colors.items():
        setattr(context, name, value)


def _stored(packet: Packet, codec: str) -> Packet:
    if codec != "h264":
        return packet
    stored = Packet(h264.with_lengths(h264.units_of_annex_b(bytes(packet))))
    stored.is_keyframe = packet.is_keyframe
    return stored
