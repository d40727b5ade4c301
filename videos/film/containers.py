"""Find a film's container by its first bytes, and open it with the demuxer of that container only.

FFmpeg would guess the format from the whole file. A playlist (HLS, concat) would then open other files and addresses.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from videos.film.facts import NoVideo

MAX_PICTURES = 500_000  # 4.6 hours at 30 a second; reading them takes 2 s
MAX_PIXELS = 8192 * 4320
HEAD_BYTES = 1024
EXPECTED = "mp4, mov, webm, mkv, avi or ts expected"
CONVERT = "ffmpeg -i FILE -c:v libx264 -pix_fmt yuv420p converted.mp4"


class Container(NamedTuple):
    name: str
    demuxer: str
    media_type: str


MP4 = Container("mp4", "mp4", "video/mp4")
QUICKTIME = Container("mov", "mp4", "video/quicktime")
WEBM = Container("webm", "matroska", "video/webm")
MATROSKA = Container("mkv", "matroska", "video/x-matroska")
AVI = Container("avi", "avi", "video/x-msvideo")
MPEG_TS = Container("ts", "mpegts", "video/mp2t")

OLD_QUICKTIME = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")  # first boxes of a mov without a file type
IMAGE_BRANDS = (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"avif", b"avis")
# Offset, first bytes, name. FFmpeg converts films ...
FILMS = (
    (0, b"FLV", "FLV"),
    (0, b"OggS", "Ogg"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "ASF (WMV)"),
    (0, b"\0\0\1\xba", "an MPEG program stream"),
    (0, b"\0\0\1\xb3", "an MPEG video stream without a container"),
    (0, b"\0\0\0\1", "a video stream without a container (H.264 or H.265)"),
    (0, b"\0\0\1", "a video stream without a container (H.264 or H.265)"),
    (0, b"DKIF", "IVF"),
    (0, b"YUV4MPEG2", "YUV4MPEG"),
    (0, b"GIF8", "a GIF"),
    (0, b"#EXTM3U", "a playlist (HLS)"),
)
# ... but it cannot make a film of these.
OTHERS = (
    (0, b"ffconcat", "a playlist (FFmpeg's concat)"),
    (0, b"[playlist]", "a playlist (PLS)"),
    (0, b"<?xml", "XML"),
    (4, b"styp", "a fragment of an mp4 without its beginning"),
    (4, b"moof", "a fragment of an mp4 without its beginning"),
    (4, b"sidx", "a fragment of an mp4 without its beginning"),
    (0, b"\x89PNG", "a PNG image"),
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (0, b"BM", "a BMP image"),
    (0, b"II*\0", "a TIFF image"),
    (0, b"MM\0*", "a TIFF image"),
    (8, b"WEBP", "a WebP image"),
    (8, b"WAVE", "WAV audio"),
    (0, b"ID3", "MP3 audio"),
    (0, b"fLaC", "FLAC audio"),
    (0, b"\x89MCAP", "an MCAP recording"),
    (0, b"#ROSBAG", "a ROS bag"),
    (0, b"\x89HDF", "an HDF5 file"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"PAR1", "a Parquet file"),
    (0, b"PK\3\4", "a ZIP archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"%PDF", "a PDF document"),
)


def container_of(head: bytes) -> Container:
    """Return the container that the file's first bytes show; raises NoVideo with the name of another format."""
    kind, brand = head[4:8], head[8:12]
    if kind == b"ftyp" and brand not in IMAGE_BRANDS:
        return QUICKTIME if brand == b"qt  " else MP4
    if kind in OLD_QUICKTIME:
        return QUICKTIME
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return WEBM if b"\x42\x82\x84webm" in head else MATROSKA
    if head.startswith(b"RIFF") and brand == b"AVI ":
        return AVI
    # Packets of 188 bytes, or of 192 with a time code before each (cameras).
    if any(len(head) > 2 * size and head[at::size][:3] == b"GGG" for at, size in ((0, 188), (4, 192))):
        return MPEG_TS
    for at, magic, name in FILMS:
        if head.startswith(magic, at):
            raise NoVideo(f"it is {name}; {EXPECTED}. To convert it: {CONVERT}")
    raise NoVideo(f"it is {_name_of_no_film(head)}; {EXPECTED}")


def _name_of_no_film(head: bytes) -> str:
    if not head:
        return "empty"
    if head[4:8] == b"ftyp":
        return "a HEIF or AVIF image"
    for at, magic, name in OTHERS:
        if head.startswith(magic, at):
            return name
    if not head.strip(b"\0"):
        return "a file that begins with zeros"
    try:
        is_text = head[:-3].decode().isprintable() or b"\n" in head  # the last character may be cut off
    except UnicodeDecodeError:
        is_text = False
    return "text" if is_text and b"\0" not in head else "of no known video format"


@contextmanager
def open_film(path: str | Path) -> Iterator[tuple[Container, InputContainer, VideoStream]]:
    """Open the film and its first video stream, decoded by one thread.

    Inside the block, what FFmpeg cannot read raises NoVideo. OSError and MemoryError stay what they are.
    """
    with open(path, "rb") as file:
        container = container_of(file.read(HEAD_BYTES))
    options = {"protocol_whitelist": "file"}
    if container.demuxer == "mp4":  # a track may refer to another file; both are FFmpeg's defaults
        options |= {"enable_drefs": "0", "use_absolute_path": "0"}
    try:
        with av.open(f"file:{path}", format=container.demuxer, container_options=options) as film:
            yield container, film, _first_video(film)
    except (OSError, MemoryError):
        raise
    except (av.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", error)
        raise NoVideo(f"it is not readable as {container.name}, or it is cut off ({reason})") from None


def _first_video(film: InputContainer) -> VideoStream:
    """Return the first stream of pictures that is not the cover of a piece of music."""
    streams = [each for each in film.streams.video if not each.disposition & av.stream.Disposition.attached_pic]
    if not film.streams:
        raise NoVideo("it has no readable stream, or it is cut off")
    if not streams:
        raise NoVideo("it has no video stream")
    stream = streams[0]
    context = stream.codec_context
    if context is None:
        raise NoVideo(f"it has a codec that FFmpeg does not know ({stream.codec_tag})")
    if stream.frames > MAX_PICTURES:
        raise NoVideo(f"it has {stream.frames} video frames; at most {MAX_PICTURES} expected")
    if context.width * context.height > MAX_PIXELS:
        raise NoVideo(f"it is {context.width} x {context.height}; at most {MAX_PIXELS} pixels (8192 x 4320) expected")
    if not context.width or not context.pix_fmt:
        raise NoVideo(f"it has no readable pictures ({context.name})")
    context.thread_count = 1
    return stream
