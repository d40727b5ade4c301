"""Background work on films: what a probe finds, posters and proxies.

Each job writes a file of its own, renames it, and then updates the row if the chunk is still there. It can be killed at
any moment and run again, also beside a process that was frozen meanwhile.
"""

import os
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path

from django.conf import settings
from django.db.models import QuerySet

from teleop.background.kinds import Kind, Postponed, Report, Unusable
from teleop.monitoring.disk_reserve import shortage
from videos.disk import sync
from videos.film.facts import Facts, NoVideo
from videos.models import FOLDER, VideoChunk

MISSING = "its file is missing in the storage"
MEMORY_BYTES = 2**30
PROBE_CPU_S, POSTER_CPU_S, PROXY_CPU_S = 30, 60, 60
# A proxy takes 2 ms a picture and 10 ns a pixel.
PROXY_CPU_S_A_PICTURE, PROXY_CPU_S_A_PIXEL, MAX_PROXY_CPU_S = 0.02, 50e-9, 7200


def due(**missing: None) -> QuerySet[VideoChunk]:
    """Select the chunks without this column, the newest first; each has a partial index (VideoChunk.Meta)."""
    return VideoChunk.objects.filter(**missing).order_by("-pk")


def probe(chunk: VideoChunk, report: Report = lambda progress: None) -> None:
    """Find the facts of a film that was stored before probes found them."""
    from videos.film.examine import examine  # here, as it loads FFmpeg

    try:
        store(chunk, examine(chunk.path))
    except FileNotFoundError:
        raise Unusable(MISSING) from None
    except NoVideo as error:
        raise Unusable(str(error)) from None


def store(chunk: VideoChunk, facts: Facts) -> None:
    """Save the facts. A poster and a proxy that are made already stay."""
    made = {"poster_size": chunk.poster_size, "proxy_size": chunk.proxy_size}
    chunk.describe(facts)
    for name, size in made.items():
        if getattr(chunk, name) is None:
            setattr(chunk, name, size or None)
    _row_of(chunk).update(**{name: getattr(chunk, name) for name in (*Facts._fields, *made)})


def make_poster(chunk: VideoChunk, report: Report) -> None:
    from videos.film.poster import write_poster  # here, as it loads FFmpeg

    _make(chunk, "poster_size", chunk.poster_name, write_poster)


def make_proxy(chunk: VideoChunk, report: Report) -> None:
    from videos.film.proxy import write_proxy  # here, as it loads FFmpeg

    def report_and_check(progress: float) -> None:
        check_disk()
        report(progress)

    _make(chunk, "proxy_size", chunk.proxy_name, partial(write_proxy, report=report_and_check))


def _make(chunk: VideoChunk, column: str, name: str, write: Callable[[Path, Path], None]) -> None:
    """Write the file beside the film, and then its size into the row; if the chunk was deleted, delete the file."""
    check_disk()
    target = Path(chunk.storage.path(name))
    for left in target.parent.glob(f"{target.name}.*.part"):  # of an attempt that was killed
        left.unlink(missing_ok=True)
    part = target.with_name(f"{target.name}.{uuid.uuid4().hex}.part")
    try:
        write(chunk.path, part)
        size = part.stat().st_size
        sync(part)
        os.replace(part, target)
    except FileNotFoundError:
        raise Unusable(MISSING) from None
    except NoVideo as error:
        raise Unusable(str(error)) from None
    finally:
        part.unlink(missing_ok=True)
    sync(target.parent)
    if not _row_of(chunk).update(**{column: size}):
        target.unlink(missing_ok=True)


def blocked() -> str | None:
    """Return why no film can be read now."""
    if not Path(settings.MEDIA_ROOT, FOLDER).is_dir():
        return f"MEDIA_ROOT ({settings.MEDIA_ROOT}) has no folder {FOLDER}; is its disk mounted?"
    return None


def blocked_or_full() -> str | None:
    return blocked() or shortage()


def check_disk() -> None:
    """Raise Postponed if the reserve of a disk is used up."""
    if problem := shortage():
        raise Postponed(problem)


def _row_of(chunk: VideoChunk) -> QuerySet[VideoChunk]:
    return VideoChunk.objects.filter(pk=chunk.pk, file_path=chunk.file_path.name)


def give_up_probe(chunk: VideoChunk, reason: str) -> None:
    """Store that the film is unreadable: it lasts 0 s, and has no poster and no proxy. The job has the reason."""
    _row_of(chunk).filter(duration_s=None).update(duration_s=0, playable=False, poster_size=0, proxy_size=0)


def give_up_poster(chunk: VideoChunk, reason: str) -> None:
    _row_of(chunk).filter(poster_size=None).update(poster_size=0)


def give_up_proxy(chunk: VideoChunk, reason: str) -> None:
    _row_of(chunk).filter(proxy_size=None).update(proxy_size=0)


def proxy_cpu_s(chunk: VideoChunk) -> float:
    a_picture = PROXY_CPU_S_A_PICTURE + PROXY_CPU_S_A_PIXEL * chunk.width * chunk.height
    return min(PROXY_CPU_S + chunk.rate * chunk.duration_s * a_picture, MAX_PROXY_CPU_S)


PROBE = Kind(
    "probe", partial(due, duration_s=None), probe, give_up_probe, MEMORY_BYTES, lambda chunk: PROBE_CPU_S, blocked
)
POSTER = Kind(
    "poster",
    partial(due, poster_size=None, duration_s__isnull=False),
    make_poster,
    give_up_poster,
    MEMORY_BYTES,
    lambda chunk: POSTER_CPU_S,
    blocked_or_full,
)
PROXY = Kind(
    "proxy",
    partial(due, proxy_size=None, duration_s__isnull=False),
    make_proxy,
    give_up_proxy,
    MEMORY_BYTES,
    proxy_cpu_s,
    blocked_or_full,
)
