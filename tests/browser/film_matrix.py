"""`make films`: every kind of film that people upload is replayed in step with the cursor, or refused by its name."""

import re
from collections.abc import Callable, Iterable
from fractions import Fraction
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import expect

from teleop.tests.recordings import make_session
from tests.browser.film_replay import FOLDER, Film, check_replay, open_replay, post_film, settle, twice
from tests.browser.test_films import FILMS
from tests.browser.video_fixtures import BITS, upload

FPS, SECONDS = 30, 4
QUICK = {"preset": "ultrafast"}
pytestmark = [pytest.mark.postgresql, pytest.mark.timeout(300)]

# Seconds and times of waiting until the session's end, which is played to.
WAITS = """() => new Promise((done) => {
  const { dataset } = document.querySelector(".replay");
  let [waited, times, last, was] = [0, 0, performance.now(), ""];
  const look = () => {
    const now = performance.now();
    if (dataset.state === "waiting") waited += now - last;
    if (dataset.state === "waiting" && was !== "waiting") times++;
    [last, was] = [now, dataset.state];
    if (dataset.state === "paused") done([waited / 1000, times]);
    else requestAnimationFrame(look);
  };
  look();
})"""


def write_film(
    path: Path,
    codec="libx264",
    format="mp4",
    size=(640, 480),
    pixels="yuv420p",
    rate: int | Fraction = FPS,
    times: Iterable[int] = range(FPS * SECONDS),
    options: dict[str, str] = QUICK,
    movflags="faststart",
    has_audio=False,
    is_rotated=False,
) -> None:
    """Write numbered pictures at `times`, in units of 1 / rate."""
    import av

    width, height = size
    muxer = {"movflags": movflags} if movflags and format in ("mp4", "mov") else {}
    with av.open(str(path), "w", format=format, options=muxer) as output:
        stream = output.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = (height, width, pixels) if is_rotated else (width, height, pixels)
        audio = output.add_stream("aac", rate=48_000) if has_audio else None
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(numbered(number, width, height, is_rotated), format="gray8")
            frame = frame.reformat(format=pixels)
            frame.pts, frame.time_base = time, 1 / Fraction(rate)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
        if audio:
            output.mux(tone(audio, seconds=SECONDS))
    if is_rotated:
        turn(path)


def numbered(number: int, width: int, height: int, is_rotated: bool):
    import numpy

    bits = numpy.array([255 * (number >> bit & 1) for bit in reversed(range(BITS))], "uint8")
    picture = numpy.tile(bits[numpy.arange(width) * BITS // width], (height, 1))
    picture[: height // 3] = 90
    return numpy.ascontiguousarray(numpy.rot90(picture)) if is_rotated else picture


def tone(stream, seconds: int) -> list:
    import av
    import numpy

    packets = []
    for start in range(0, 48_000 * seconds, 1024):
        wave = numpy.sin(numpy.arange(start, start + 1024) / 20).astype("float32")[None] / 4
        frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 48_000, start
        packets += stream.encode(frame)
    return packets + stream.encode()


def turn(path: Path) -> None:
    """Write a quarter turn into the matrix of the track's header, as phones do."""
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 44
    values = (0, 1 << 16, 0, -1 << 16, 0, 0, 480 << 16, 0, 1 << 30)
    content[matrix : matrix + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in values)
    path.write_bytes(content)


def made(name: str, preview="original", **options) -> Film:
    return Film(name, SECONDS, FPS * SECONDS, preview=preview, make=partial(write_film, **options))


B_PICTURES = {"preset": "veryfast", "bf": "2"}
SVT = {"preset": "12", "g": "2"}
PHONE = [time + time % 3 for time in range(0, 120 * 33, 33)]  # in milliseconds
MATRIX = [
    made("H.264, index first"),
    made("H.264, index last, B-pictures, edit list", options=B_PICTURES, movflags=""),
    made("H.264, a fragment a key picture", options=QUICK | {"g": "30"}, movflags="frag_keyframe+empty_moov"),
    made("H.264, a fragment a picture", movflags="frag_every_frame+empty_moov"),
    made("H.264 4:4:4", "proxy", pixels="yuv444p"),
    made("H.264 4:2:2", "proxy", pixels="yuv422p"),
    made("H.264 10 bit", "proxy", pixels="yuv420p10le"),
    made("H.264 RGB", "proxy", codec="libx264rgb", pixels="rgb24"),
    made("H.264 4:4:4, odd size", "proxy", pixels="yuv444p", size=(641, 479)),
    made("H.264 3840 x 2160", size=(3840, 2160)),
    made("H.264, times from 5 s on", times=range(5 * FPS, (5 + SECONDS) * FPS)),
    made("H.264 rotated", is_rotated=True),
    made("H.264 with sound", has_audio=True),
    made("AV1 of LeRobot", codec="libsvtav1", options=SVT),
    made("AV1 10 bit", codec="libsvtav1", options=SVT, pixels="yuv420p10le"),
    made("AV1, odd size", codec="libsvtav1", options=SVT, size=(641, 479)),
    made("VP9 in mp4", codec="libvpx-vp9", options={"cpu-used": "8", "deadline": "realtime"}),
    made("VP9 in webm", format="webm", codec="libvpx-vp9", options={"cpu-used": "8", "deadline": "realtime"}),
    made("VP8 in webm", format="webm", codec="libvpx", options={"cpu-used": "8", "deadline": "realtime"}),
    made("H.264 in mov", format="mov"),
    made("H.264 in mkv", "proxy", format="matroska"),
    made("H.264 in ts, B-pictures", "proxy", format="mpegts", options=B_PICTURES),
    made("MPEG-4 in mp4", "proxy", codec="mpeg4", options={}),
    made("MJPEG in mp4", "proxy", codec="mjpeg", options={}, pixels="yuvj420p"),
    made("MJPEG in avi", "proxy", format="avi", codec="mjpeg", options={}, pixels="yuvj420p"),
    made("HEVC", "proxy", codec="libx265", options={"preset": "ultrafast", "x265-params": "log-level=error"}),
    Film("15 a second", SECONDS, 15 * SECONDS, make=partial(write_film, rate=15, times=range(15 * SECONDS))),
    Film("60 a second", SECONDS, 60 * SECONDS, make=partial(write_film, rate=60, times=range(60 * SECONDS))),
    Film("1 picture", 1 / FPS, 1, make=partial(write_film, times=[0])),
    Film("2 h", 7200, 3600, make=partial(write_film, rate=Fraction(1, 2), times=range(3600), size=(192, 96))),
    Film("VFR of a phone", 3.96, 120, make=partial(write_film, rate=1000, times=PHONE)),
    Film("frag_bframes.mp4"),
    Film("h264_bframes_noedit.mp4"),  # the first picture is at 67 ms
    Film("short92.mp4", count=276),  # 9.2 s of film for 10 s
    Film("offset5_edit.mp4"),
    Film("hevc_hvc1.mp4", preview="proxy"),
]


@pytest.mark.parametrize("film", [*FILMS, *MATRIX], ids=lambda film: film.name)
def test_the_picture_is_that_of_the_cursor(film: Film, server, visit, viewer, tmp_path):
    check_replay(twice(film), server, visit, viewer, tmp_path)


def cut(path: Path, **options) -> None:
    write_film(path, **options)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def write_sound(path: Path) -> None:
    import av

    with av.open(str(path), "w", format="mp4") as output:
        output.mux(tone(output.add_stream("aac", rate=48_000), SECONDS))


@pytest.mark.parametrize(
    "write, says",
    {
        "truncated, index first": (cut, "breaks off|cut off"),
        "truncated, index last": (partial(cut, movflags=""), "breaks off|cut off|not readable"),
        "truncated fragments": (partial(cut, movflags="frag_every_frame+empty_moov"), "breaks off|cut off"),
        "no bytes": (lambda path: path.write_bytes(b""), "empty"),
        "text": (lambda path: path.write_text("This is a film.\n" * 100), "text"),
        "playlist": (lambda path: path.write_text("#EXTM3U\n#EXTINF:4,\nhttp://localhost/4.ts\n"), "playlist"),
        "sound only": (write_sound, "no video"),
        "FLV": (partial(write_film, format="flv", codec="flv1", options={}), "FLV"),
        "2 s too short": (partial(write_film, times=range(60)), "2.000 s .* 4.000 s"),
        "2 s too long": (partial(write_film, times=range(180)), "6.000 s .* 4.000 s"),
    }.values(),
)
def test_it_refuses_by_name(write: Callable[[Path], None], says: str, server, tmp_path):
    write(path := tmp_path / "film")
    answer = post_film(server, make_session([0, 600]), path, SECONDS)
    assert re.search(says, str(answer["file"])), answer


def test_depth_is_stored_and_says_so(server, visit, viewer):
    session = make_session([0, 600])
    answer = post_film(server, session, FOLDER / "depth_hevc_gray12.mp4", 10)
    assert answer["preview"] == "none" and "depth" in answer["warning"]
    page = open_replay(visit, session, viewer)
    expect(page.get_by_text("front: depth (gray12le), no preview")).to_be_visible()
    settle(page)


@pytest.mark.parametrize("rate, chunks", [(1, 4), (4, 13)])
def test_seams_of_10_second_chunks_hardly_stop_the_clock(rate, chunks, visit, viewer):
    session = make_session(range(chunks * 600))
    for camera in ("a", "b", "c", "d"):
        for number in range(chunks):
            upload(session, number * 300, 300, camera)
    page = open_replay(visit, session, viewer)
    settle(page)
    page.get_by_label("Speed").select_option(str(rate))
    page.keyboard.press("Space")
    expect(page.locator(".replay")).to_have_attribute("data-state", "playing")
    waited_s, times = page.evaluate(WAITS)
    print(f"4 cameras, {chunks - 1} seams at {rate}x: {times} stops, {waited_s:.2f} s")  # noqa: T201 - shown by -rP
    assert waited_s <= 0.1 * (chunks - 1)
