"""What a file says of itself, read by FFmpeg."""

from pathlib import Path


class NoVideo(Exception):
    """Why a file is not the video it was said to be."""


def seconds_of_video(path: str | Path) -> float:
    """From the first picture's time to the end of the last; raises NoVideo.

    Every packet is read, none decoded: a header may promise pictures that were cut off.
    """
    import av  # 15 MB, which a server that is sent no video need not hold

    try:
        # The format is not guessed: a playlist (HLS) would have FFmpeg open whatever files and addresses it lists.
        with av.open(f"file:{path}", format="mp4", container_options={"protocol_whitelist": "file"}) as container:
            if not container.streams.video:
                raise NoVideo("it has no video stream")
            return _span(container.demux(container.streams.video[0]))
    except (av.FFmpegError, ValueError) as error:
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
