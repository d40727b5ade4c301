"""Check the pictures in an MCAP file: their times, the form of their H.264, and each against its source.

Each picture is decoded once, by itself: a reader that begins at a key picture needs nothing else.
"""

import re
from base64 import b64decode
from typing import Any

import av
import orjson
from av.codec.context import Flags
from av.packet import Packet
from av.video.frame import PictureType

from datasets.verification.findings import Findings
from datasets.verification.pictures import Picture, Scaler, Shift, is_same, wrong_picture
from datasets.verification.source_films import PREFIX, SourceCamera, source_cameras
from datasets.verification.source_pictures import BrokenSource, SourcePictures

START_CODE = re.compile(rb"\x00\x00\x01")
IDR, SPS, PPS = 5, 7, 8  # kinds of NAL units (H.264, table 7-1)
TOLERANCE_NS = 1000


def camera_topics(entry, options, findings: Findings) -> dict[str, SourceCamera]:
    """Return the cameras that the file of this session has, by their topics."""
    cameras = source_cameras(entry, options, findings)
    names = {key: key.removeprefix(PREFIX) for key in cameras}
    plain = {key: name.replace(".", "_") for key, name in names.items()}
    is_shared = {key: list(plain.values()).count(name) > 1 for key, name in plain.items()}
    return {
        f"/observation/images/{names[key] if is_shared[key] else plain[key]}": camera for key, camera in cameras.items()
    }


class PictureMessages:
    """The messages of one camera, in their order."""

    def __init__(self, where: str, camera: SourceCamera, findings: Findings):
        self._where, self._camera, self._findings = where, camera, findings
        self._name = camera.key.removeprefix(PREFIX)
        self._source = SourcePictures(camera, threads=1)
        self._scaler, self._shift = Scaler(), Shift()
        self._decoder = av.CodecContext.create("h264", "r")
        self._decoder.flags |= Flags.low_delay  # a picture for each packet, as there are no B-pictures
        self._decoder.thread_count = 1
        self._count = 0

    def add(self, message: Any) -> None:
        position, self._count = self._count, self._count + 1
        if position >= len(self._camera.times_us):
            return  # `conclude` reports the number
        where = f"{self._where}: picture {position}"
        data = self._check_content(where, position, message)
        self._check_units(where, position, data)
        try:
            frames = self._decoder.decode(Packet(data))
        except av.FFmpegError as error:
            self._findings.add(f"{where} cannot be decoded: {error}")
            return
        if self._findings.compare(f"{where}: the number of pictures in its message", len(frames), 1):
            self._check_picture(where, position, frames[0])

    def conclude(self) -> int:
        """Check the number of pictures, and return it."""
        self._source.close()
        self._findings.compare(f"{self._where}: the number of pictures", self._count, len(self._camera.times_us))
        if self._count and self._decoder.decode(None):
            self._findings.add(f"{self._where}: the decoder holds pictures back; none expected")
        if neighbour := self._shift.found():
            self._findings.add(f"{self._where}: its pictures are, all together, nearer to {neighbour} than to theirs")
        return self._count

    def _check_content(self, where: str, position: int, message: Any) -> bytes:
        """Check the time and the texts of a message; return the bytes of the picture."""
        content = orjson.loads(message.data)
        time_ns = int(self._camera.times_us[position]) * 1000
        if abs(message.log_time - time_ns) > TOLERANCE_NS:
            self._findings.add(f"{where} is at {message.log_time} ns; {time_ns} expected, up to {TOLERANCE_NS} ns")
        stated = content["timestamp"]["sec"] * 10**9 + content["timestamp"]["nsec"]
        self._findings.compare(f"{where}: timestamp", stated, message.log_time)
        self._findings.compare(f"{where}: frame_id", content["frame_id"], self._name)
        self._findings.compare(f"{where}: format", content["format"], "h264")
        self._findings.compare(f"{where}: sequence", message.sequence, position)
        return b64decode(content["data"], validate=True)

    def _check_units(self, where: str, position: int, data: bytes) -> None:
        """Check that it is Annex B, and that the parameter sets come before each key picture."""
        if not data.startswith((b"\x00\x00\x01", b"\x00\x00\x00\x01")):
            self._findings.add(f"{where} begins with {data[:4].hex(' ')}; a start code of Annex B expected")
        kinds = [data[found.end()] & 0x1F for found in START_CODE.finditer(data) if found.end() < len(data)]
        before = kinds[: kinds.index(IDR)] if IDR in kinds else None
        if before is None and position == 0:
            self._findings.add(f"{where} is no key picture; the first one has to be")
        if before is not None and not {SPS, PPS} <= set(before):
            self._findings.add(f"{where} is a key picture without SPS and PPS before it")

    def _check_picture(self, where: str, position: int, frame: av.VideoFrame) -> None:
        if frame.is_corrupt:
            self._findings.add(f"{where} is damaged")
        if frame.pict_type == PictureType.B:
            self._findings.add(f"{where} is a B-picture; none expected")
        try:
            self._compare(where, position, frame)
        except BrokenSource as error:
            self._findings.add(f"{where}: its source is broken: {error}")
            self._findings.conclude()

    def _compare(self, where: str, position: int, frame: av.VideoFrame) -> None:
        self._source.forget_before(position - 1)
        right = self._source.get(position)
        if is_same(frame, right.frame):
            return
        neighbours = {"the one before": position - 1, "the one after": position + 1}
        others = {
            name: self._source.get(at).small for name, at in neighbours.items() if 0 <= at < len(self._camera.times_us)
        }
        if wrong := wrong_picture(Picture(frame, self._scaler).small, right.small, others, self._shift):
            self._findings.add(f"{where} shows {wrong}, not its own")
