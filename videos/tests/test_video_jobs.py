"""Background work on films: probes, posters and proxies of the chunks that lack them."""

import resource
from io import StringIO
from pathlib import Path

import pytest
from django.core.files import File
from django.core.management import call_command
from django.db import connection

from teleop.background.isolation import run_isolated
from teleop.background.kinds import KINDS, Postponed, Unusable
from videos import background
from videos.background import POSTER, PROBE, PROXY
from videos.film.examine import examine
from videos.models import VideoChunk
from videos.tests.film_files import FILMS, encoded
from videos.tests.video_files import START, files

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Return a film that needs a proxy."""
    return encoded(tmp_path_factory.mktemp("film") / "small.mp4", "mpeg4")


@pytest.fixture
def store(session, small):
    def stored(name="", number=0, is_probed=True) -> VideoChunk:
        """Store a film of tests/films or the small one, as this version does or as versions before probes did."""
        path = FILMS / name if name else small
        start = START + 10 * number
        chunk = VideoChunk(session=session, camera_key="front", start_timestamp=start, end_timestamp=start + 10)
        if is_probed:
            chunk.describe(examine(path))
        with path.open("rb") as film:
            return chunk.keep(File(film))[0]

    return stored


def made(chunk: VideoChunk) -> dict[str, int | None]:
    return VideoChunk.objects.values("poster_size", "proxy_size").get(pk=chunk.pk)


def nothing(progress: float) -> None:
    """Ignore the progress."""


def test_the_kinds_of_work_are_registered_in_this_order():
    assert [name for name in KINDS if name in ("probe", "poster", "proxy")] == ["probe", "poster", "proxy"]


def test_work_is_due_that_lacks_its_result_newest_first(store):
    old, playable, depth = store(is_probed=False), store("short92.mp4", 1), store("depth_hevc_gray12.mp4", 2)
    newest = store("hevc_hvc1.mp4", 3)
    assert list(PROBE.due()) == [old]
    assert list(POSTER.due()) == [newest, playable]
    assert list(PROXY.due()) == [newest]
    assert depth.preview == "none"


@pytest.mark.parametrize(
    "kind, index",
    [(PROBE, "videos_to_probe"), (POSTER, "videos_without_poster"), (PROXY, "videos_without_proxy")],
    ids=["probe", "poster", "proxy"],
)
def test_it_finds_due_work_by_its_partial_index(kind, index, store):
    store()
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL enable_seqscan = off")  # a table of one row is read as a whole
            cursor.execute("SET LOCAL enable_sort = off")
    assert index in kind.due()[:3].explain()


def test_a_probe_stores_the_facts_of_an_old_film(store):
    chunk = store("seg_1.mp4", is_probed=False)
    PROBE.run(chunk, nothing)
    chunk.refresh_from_db()
    assert (chunk.first_picture_s, chunk.duration_s, chunk.codec, chunk.preview) == (5, 5, "h264", "original")
    assert (chunk.poster_size, chunk.proxy_size) == (None, 0)
    assert not PROBE.due()


def test_it_makes_poster_and_proxy_beside_the_film(store, media):
    chunk, progress = store(), []
    POSTER.run(chunk, progress.append)
    PROXY.run(chunk, progress.append)
    sizes = {name: chunk.storage.size(name) for name in (chunk.poster_name, chunk.proxy_name)}
    assert made(chunk) == {"poster_size": sizes[chunk.poster_name], "proxy_size": sizes[chunk.proxy_name]}
    assert files(media) == sorted(chunk.file_names)
    assert progress[0] == 0 and progress[-1] > 0.7
    assert not POSTER.due() and not PROXY.due()


def test_it_makes_the_same_file_again_after_it_was_killed(store, media):
    chunk = store()
    PROXY.run(chunk, nothing)
    before = made(chunk)
    PROXY.run(chunk, nothing)
    assert made(chunk) == before and len(files(media)) == 2


@pytest.mark.parametrize("kind", [POSTER, PROXY], ids=lambda kind: kind.name)
def test_it_leaves_nothing_of_a_chunk_that_was_deleted_meanwhile(kind, store, media):
    chunk = store()
    VideoChunk.objects.filter(pk=chunk.pk)._raw_delete("default")
    kind.run(chunk, nothing)
    assert files(media) == [chunk.file_path.name]


def test_a_probe_does_not_restore_a_chunk_that_was_deleted_meanwhile(store):
    chunk = store(is_probed=False)
    VideoChunk.objects.filter(pk=chunk.pk)._raw_delete("default")
    PROBE.run(chunk, nothing)
    assert not VideoChunk.objects.exists()


def test_it_leaves_nothing_of_a_proxy_on_a_full_disk(store, media):
    chunk = store()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, before[1]))  # the proxy is 5 kB
    try:
        with pytest.raises(OSError, match="File too large"):
            PROXY.run(chunk, nothing)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert made(chunk)["proxy_size"] is None and files(media) == [chunk.file_path.name]


@pytest.mark.parametrize("kind", [POSTER, PROXY], ids=lambda kind: kind.name)
def test_it_writes_nothing_into_the_reserve_of_the_disk(kind, store, media, settings):
    chunk = store()
    settings.DISK_RESERVE_BYTES = 2**60
    with pytest.raises(Postponed, match="DISK_RESERVE_BYTES"):
        kind.run(chunk, nothing)
    assert made(chunk)[f"{kind.name}_size"] is None and files(media) == [chunk.file_path.name]


def test_a_proxy_stops_when_it_reaches_the_reserve(store, media, settings):
    chunk = store()

    def fill_the_disk(progress: float) -> None:
        settings.DISK_RESERVE_BYTES = 2**60

    with pytest.raises(Postponed):
        PROXY.run(chunk, fill_the_disk)
    assert files(media) == [chunk.file_path.name]


@pytest.mark.parametrize("kind", [PROBE, POSTER, PROXY], ids=lambda kind: kind.name)
def test_a_broken_film_is_unusable_with_the_reason(kind, store):
    chunk = store(is_probed=kind is not PROBE)
    chunk.path.write_bytes(b"no film")
    with pytest.raises(Unusable, match="it is text; mp4, mov, webm, mkv, avi or ts expected"):
        kind.run(chunk, nothing)
    kind.give_up(chunk, "it is text")
    assert not kind.due()


def test_a_film_without_facts_has_no_preview_after_it_was_given_up(store):
    chunk = store(is_probed=False)
    PROBE.give_up(chunk, "it is text")
    chunk.refresh_from_db()
    assert (chunk.duration_s, chunk.stretch, chunk.preview, chunk.poster_size) == (0, 1, "none", 0)
    assert not any(kind.due() for kind in (PROBE, POSTER, PROXY))


@pytest.mark.parametrize("kind", [POSTER, PROXY], ids=lambda kind: kind.name)
def test_giving_up_keeps_what_another_process_made(kind, store):
    chunk = store()
    kind.run(chunk, nothing)
    before = made(chunk)
    kind.give_up(chunk, "it was slow")
    assert made(chunk) == before


@pytest.mark.parametrize("kind", [PROBE, POSTER, PROXY], ids=lambda kind: kind.name)
def test_no_film_is_judged_while_the_media_folder_is_not_mounted(kind, store, media):
    store()
    assert kind.blocked() is None
    media.rename(media.with_name("unmounted"))
    assert kind.blocked() == f"MEDIA_ROOT ({media}) has no folder videos; is its disk mounted?"


@pytest.mark.parametrize("kind", [PROBE, POSTER, PROXY], ids=lambda kind: kind.name)
def test_a_film_whose_file_is_lost_is_given_up(kind, store):
    chunk = store(is_probed=kind is not PROBE)
    chunk.path.unlink()
    with pytest.raises(Unusable, match="its file is missing in the storage"):
        kind.run(chunk, nothing)


def test_it_removes_what_an_attempt_left_that_was_killed(store, media):
    chunk = store()
    Path(f"{chunk.storage.path(chunk.proxy_name)}.0123.part").write_bytes(b"half of a proxy")
    PROXY.run(chunk, nothing)
    assert files(media) == sorted([chunk.file_path.name, chunk.proxy_name])


@pytest.mark.django_db(transaction=True)
def test_a_proxy_is_made_within_its_limits(store):
    chunk = store()
    assert run_isolated(PROXY, chunk, lambda progress: True) is None
    assert made(chunk)["proxy_size"]


def test_a_large_film_may_take_longer(store):
    chunk = store()
    assert PROXY.cpu_s(chunk) == pytest.approx(60 + 60 * (0.02 + 192 * 96 * 50e-9))
    chunk.width, chunk.height, chunk.duration_s = 8192, 4320, 1e6
    assert PROXY.cpu_s(chunk) == background.MAX_PROXY_CPU_S


def probe_videos(*options: str) -> tuple[str, str]:
    out, errors = StringIO(), StringIO()
    call_command("probe_videos", *options, stdout=out, stderr=errors)
    return out.getvalue(), errors.getvalue()


def test_the_command_probes_videos_without_facts(store):
    old, broken = store("seg_1.mp4", is_probed=False), store("short92.mp4", 1, is_probed=False)
    store("cut_ss_copy.mp4", 2)
    broken.path.write_bytes(b"no film")
    out, errors = probe_videos()
    assert out == "1 videos probed, 1 unreadable, 0 without a file\n"
    assert errors.startswith(f"video {broken.pk} of session {broken.session_id}: it is text")
    old.refresh_from_db()
    assert old.first_picture_s == 5
    assert not PROBE.due()


def test_the_command_probes_an_unreadable_video_again(store):
    chunk = store("seg_1.mp4", is_probed=False)
    PROBE.give_up(chunk, "MEDIA_ROOT was not mounted")
    assert probe_videos()[0] == "1 videos probed, 0 unreadable, 0 without a file\n"
    assert list(POSTER.due()) == [chunk]


def test_the_command_keeps_posters_and_proxies_that_are_made(store):
    chunk = store()
    POSTER.run(chunk, nothing)
    PROXY.run(chunk, nothing)
    before = made(chunk)
    assert probe_videos()[0] == "0 videos probed, 0 unreadable, 0 without a file\n"
    assert probe_videos("--all")[0] == "1 videos probed, 0 unreadable, 0 without a file\n"
    assert made(chunk) == before


def test_the_command_goes_on_after_a_missing_file_which_stays_due(store):
    older, missing = store("seg_1.mp4", is_probed=False), store("short92.mp4", 1, is_probed=False)
    missing.path.unlink()
    out, errors = probe_videos()
    assert out == "1 videos probed, 0 unreadable, 1 without a file\n"
    assert errors == f"no file for video {missing.pk} of session {missing.session_id}: {missing.file_path.name}\n"
    assert list(PROBE.due()) == [missing] and list(POSTER.due()) == [older]
