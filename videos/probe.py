"""Read a video's length with FFmpeg in a separate process, as a file of 600 bytes may request 2 GB of memory.

The program `python probe.py FILE` prints JSON. It imports nothing of Django, as that takes longer than FFmpeg.
"""

import errno
import json
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

MEMORY_BYTES = 128 * 2**20  # private and writable memory; a film takes 20 MB
MAX_PICTURES = 500_000  # 4.5 hours at 30 a second; reading them takes 7 s
CPU_S = 10
TIMEOUT_S = 20  # a timeout means that the server has little processor time, not that the file is bad
AT_A_TIME, MAX_WAITING, WAIT_S = 2, 20, 20
COMMAND = ["nice", "-n", "5", "setpriv", "--pdeathsig", "KILL", sys.executable, "-I", __file__]


class NoVideo(Exception):
    """The file is not the video that the upload describes; the message gives the reason."""


class ProbesBusy(Exception):
    """The file cannot be probed now."""


places, waiting = threading.BoundedSemaphore(AT_A_TIME), threading.BoundedSemaphore(MAX_WAITING)


def seconds_of_video(path: str | Path) -> float:
    """Return the time from the first picture to the end of the last one; raises NoVideo and ProbesBusy.

    The caller holds no connection to the database meanwhile.
    """
    if not waiting.acquire(blocking=False):
        raise ProbesBusy(f"{MAX_WAITING} uploads already wait to be checked")
    try:
        if not places.acquire(timeout=WAIT_S):
            raise ProbesBusy(f"{AT_A_TIME} other uploads are being checked, and this one has waited for {WAIT_S} s")
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
        raise ProbesBusy(f"the upload could not be checked within {TIMEOUT_S} s, as the server is busy") from None
    if process.returncode == -signal.SIGXCPU:
        raise NoVideo(f"checking it takes more than {CPU_S} s of processor time")
    if process.returncode < 0:
        raise NoVideo(f"FFmpeg cannot read it ({signal.Signals(-process.returncode).name})")
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
        answer = {"error": f"checking it takes more than {MEMORY_BYTES >> 20} MB of memory"}
    print(json.dumps(answer))  # noqa: T201


def _seconds(path: str) -> float:
    """Read every packet and decode none: a header may list pictures that were cut off."""
    import av

    try:
        # The format is not guessed: a playlist (HLS) would make FFmpeg open all files and addresses that it lists.
        with av.open(f"file:{path}", format="mp4", container_options={"protocol_whitelist": "file"}) as container:
            if not container.streams.video:
                raise NoVideo("it has no video stream")
            stream = container.streams.video[0]
            if stream.frames > MAX_PICTURES:
                raise NoVideo(f"it has {stream.frames} video frames; at most {MAX_PICTURES} expected")
            return _span(container.demux(stream))
    except (av.FFmpegError, ValueError) as error:
        if getattr(error, "errno", None) == errno.ENOMEM:
            raise MemoryError from None
        raise NoVideo(f"it is not readable as mp4 ({getattr(error, 'strerror', error)})") from None


def _span(packets) -> float:
    begin, end = float("inf"), float("-inf")
    for packet in packets:
        if packet.pts is None:  # the last packet, which only marks the end
            continue
        if packet.is_corrupt:
            raise NoVideo("it is cut off")
        begin = min(begin, float(packet.pts * packet.time_base))
        end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    if end < begin:
        raise NoVideo("its video stream has no video frames")
    return end - begin


if __name__ == "__main__":
    main(sys.argv[1])
