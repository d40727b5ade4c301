"""What a file says of itself, read by FFmpeg in a process of its own: a file of 600 bytes may ask for 2 GB.

As a program, `python probe.py FILE` prints JSON; it imports nothing of Django's, which takes longer than FFmpeg.
"""

import errno
import json
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

MEMORY_BYTES = 128 * 2**20  # private and writable; a film takes 20 MB
MAX_PICTURES = 500_000  # four hours and a half at 30 a second; they take 7 s
CPU_S = 10
TIMEOUT_S = 20  # where there is little processor time, the file is not to blame
AT_A_TIME, MAX_WAITING, WAIT_S = 2, 20, 20
COMMAND = ["nice", "-n", "5", "setpriv", "--pdeathsig", "KILL", sys.executable, "-I", __file__]


class NoVideo(Exception):
    """Why a file is not the video it was said to be."""


class ProbesBusy(Exception):
    """The file could not be looked at now."""


places, waiting = threading.BoundedSemaphore(AT_A_TIME), threading.BoundedSemaphore(MAX_WAITING)


def seconds_of_video(path: str | Path) -> float:
    """From the first picture's time to the end of the last; raises NoVideo, and ProbesBusy.

    The caller holds no connection to the database meanwhile.
    """
    if not waiting.acquire(blocking=False):
        raise ProbesBusy(f"{MAX_WAITING} uploads wait to be looked at already")
    try:
        if not places.acquire(timeout=WAIT_S):
            raise ProbesBusy(f"{AT_A_TIME} uploads are being looked at, and this one has waited for {WAIT_S} s")
    finally:
        waiting.release()
    try:
        return _ask_process(path)
    finally:
        places.release()


def _ask_process(path: str | Path) -> float:
    try:
        process = subprocess.run([*COMMAND, path], stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise ProbesBusy(f"the upload was not looked through within {TIMEOUT_S} s, as the server is busy") from None
    if process.returncode == -signal.SIGXCPU:
        raise NoVideo(f"to look through it takes more than {CPU_S} s of processor time")
    if process.returncode < 0:
        raise NoVideo(f"FFmpeg failed on it ({signal.Signals(-process.returncode).name})")
    if process.returncode:
        raise RuntimeError(f"{COMMAND[-1]} ended with {process.returncode}: {process.stderr.decode(errors='replace')}")
    found = json.loads(process.stdout)
    if "error" in found:
        raise NoVideo(found["error"])
    return found["seconds"]


def main(path: str) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    try:
        answer: dict[str, float | str] = {"seconds": _seconds(path)}
    except NoVideo as error:
        answer = {"error": str(error)}
    except MemoryError:
        answer = {"error": f"to look through it takes more than {MEMORY_BYTES >> 20} MB of memory"}
    print(json.dumps(answer))  # noqa: T201


def _seconds(path: str) -> float:
    """Every packet is read, none decoded: a header may promise pictures that were cut off."""
    import av

    try:
        # The format is not guessed: a playlist (HLS) would have FFmpeg open whatever files and addresses it lists.
        with av.open(f"file:{path}", format="mp4", container_options={"protocol_whitelist": "file"}) as container:
            if not container.streams.video:
                raise NoVideo("it has no video stream")
            stream = container.streams.video[0]
            if stream.frames > MAX_PICTURES:
                raise NoVideo(f"it has {stream.frames} pictures; at most {MAX_PICTURES} expected")
            return _span(container.demux(stream))
    except (av.FFmpegError, ValueError) as error:
        if getattr(error, "errno", None) == errno.ENOMEM:
            raise MemoryError from None
        raise NoVideo(f"it is not readable as mp4 ({getattr(error, 'strerror', error)})") from None


def _span(packets) -> float:
    begin, end = float("inf"), float("-inf")
    for packet in packets:
        if packet.pts is None:  # the last one, which only says that there are no more
            continue
        if packet.is_corrupt:
            raise NoVideo("it breaks off")
        begin = min(begin, float(packet.pts * packet.time_base))
        end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    if end < begin:
        raise NoVideo("its video stream has no pictures")
    return end - begin


if __name__ == "__main__":
    main(sys.argv[1])
