"""/videos/{id}/content: ranges, conditions, and delivery by nginx instead of Django."""

import hashlib
import os
from ipaddress import ip_network
from pathlib import Path

import pytest

from videos import content
from videos.models import VideoChunk
from videos.ranges import BadRange, parse_range
from videos.tests.video_files import film, upload

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.once,
    pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume"),
]

SIZE = 1000
RANGES = [
    ("", None),
    ("bytes=0-0", (0, 0)),
    ("bytes=0-", (0, 999)),
    ("bytes=10-19", (10, 19)),
    ("bytes=999-", (999, 999)),
    ("bytes=990-5000", (990, 999)),
    ("bytes=-1", (999, 999)),
    ("bytes=-5000", (0, 999)),
    ("Bytes = 1-2", (1, 2)),
    ("bytes=0-0,-1", None),
    ("bytes=0-0, 5-9999", None),
    ("items=0-1", None),
    ("nonsense", None),
]
BAD_RANGES = {
    "bytes from 0 to 999 expected": ["1000-", "1000-2000", "-0", "5-2", "999999999999999999-"],
    "bytes=FIRST-LAST": ["", "-", "--1", "a-b", "0-1-2", "1.5-2", "٣-", "0-" + "9" * 400, "-1000-5"],
}
ETAG = f'"{hashlib.sha256(film()).hexdigest()}"'


@pytest.mark.parametrize("header, span", RANGES)
def test_it_parses_a_range(header, span):
    part = parse_range(header, SIZE)
    assert (part and (part[0], part[-1])) == span


@pytest.mark.parametrize("asked, says", [(each, says) for says, bad in BAD_RANGES.items() for each in bad])
def test_it_refuses_an_invalid_or_unsatisfiable_range(asked, says):
    with pytest.raises(BadRange, match=says):
        parse_range(f"bytes={asked}", SIZE)


@pytest.fixture
def path(admin, session):
    return f"/videos/{upload(admin, session).json()['id']}/content"


def body(answer) -> bytes:
    return b"".join(answer)


def test_it_returns_the_file_as_uploaded(viewer, path):
    answer = viewer.get(path)
    assert (answer.status_code, body(answer)) == (200, film())
    assert answer["Content-Type"] == "video/mp4" and answer["Content-Length"] == str(len(film()))
    assert (answer["Accept-Ranges"], answer["ETag"]) == ("bytes", ETAG)
    assert answer["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("asked, part", [("0-0", slice(0, 1)), ("-1", slice(-1, None)), ("100-199", slice(100, 200))])
def test_it_returns_206_with_the_requested_range(viewer, path, asked, part):
    answer = viewer.get(path, HTTP_RANGE=f"bytes={asked}")
    expected = film()[part]
    first = film().index(expected) if len(expected) > 1 else range(len(film()))[part][0]
    assert (answer.status_code, body(answer)) == (206, expected)
    assert answer["Content-Range"] == f"bytes {first}-{first + len(expected) - 1}/{len(film())}"
    assert answer["Content-Length"] == str(len(expected))


def test_it_returns_416_for_a_range_beyond_the_end(viewer, path):
    answer = viewer.get(path, HTTP_RANGE="bytes=99999999-")
    assert (answer.status_code, answer["Content-Range"]) == (416, f"bytes */{len(film())}")
    assert answer.json() == {"detail": f"Range is bytes=99999999-; bytes from 0 to {len(film()) - 1} expected"}


@pytest.mark.parametrize(
    "asked, status", [({}, 200), ({"HTTP_RANGE": "bytes=5-9"}, 206), ({"HTTP_RANGE": "bytes=-0"}, 416)]
)
def test_head_answers_as_get_without_the_body(viewer, path, asked, status):
    head, get = viewer.head(path, **asked), viewer.get(path, **asked)
    assert head.status_code == get.status_code == status and body(head) == b""
    names = ("Content-Type", "Content-Range", "ETag", "Accept-Ranges")
    assert [head.headers.get(name) for name in names] == [get.headers.get(name) for name in names]
    assert status == 416 or head["Content-Length"] == get["Content-Length"]


# The ids do not contain the ETag: an encoder may write other bytes in another process of xdist.
@pytest.mark.parametrize(
    "known, status",
    [(ETAG, 304), (f'W/"x", {ETAG}', 304), ("*", 304), ('"other"', 200)],
    ids=["the ETag", "one of two", "any", "another"],
)
def test_it_returns_304_for_a_matching_if_none_match(viewer, path, known, status):
    answer = viewer.get(path, HTTP_IF_NONE_MATCH=known)
    assert (answer.status_code, answer["ETag"]) == (status, ETAG)


@pytest.mark.parametrize(
    "known, status",
    [(ETAG, 206), ('"other"', 200), ("Mon, 05 Jan 2026 08:00:00 GMT", 200)],
    ids=["the ETag", "another", "a time"],
)
def test_it_returns_the_whole_file_if_if_range_does_not_match(viewer, path, known, status):
    assert viewer.get(path, HTTP_RANGE="bytes=0-9", HTTP_IF_RANGE=known).status_code == status


def test_it_returns_412_if_if_match_does_not_match(viewer, path):
    assert viewer.get(path, HTTP_IF_MATCH='"other"').status_code == 412


@pytest.mark.parametrize("accept", ["video/mp4", "video/webm,video/*;q=0.9", "image/png", "nonsense"])
def test_it_ignores_the_accept_header(viewer, path, accept):
    assert viewer.get(path, HTTP_ACCEPT=accept).status_code == 200


def test_it_returns_410_for_a_missing_file(viewer, path, media):
    chunk = VideoChunk.objects.get()
    (media / chunk.file_path.name).unlink()
    answer = viewer.get(path)
    assert answer.status_code == 410
    assert answer.json() == {"detail": f"the file of video {chunk.pk} is missing in the storage"}


def test_it_aborts_the_response_if_the_file_is_too_short(viewer, path, media):
    (media / VideoChunk.objects.get().file_path.name).write_bytes(b"short")
    with pytest.raises(EOFError):
        body(viewer.get(path))


def test_closing_the_response_closes_the_file(viewer, path, monkeypatch):
    opened, open_file = [], content._open
    monkeypatch.setattr(content, "_open", lambda file: opened.append(open_file(file)) or opened[0])
    viewer.get(path).close()
    assert opened[0].closed


BESIDE = {"poster": ("image/jpeg", "jpg"), "proxy": ("video/mp4", "proxy.mp4")}


@pytest.fixture
def beside(path, media) -> Path:
    """Make the poster and the proxy; return the path of the film without its extension."""
    chunk = VideoChunk.objects.get()
    for name in (chunk.poster_name, chunk.proxy_name):
        (media / name).write_bytes(name.encode())
    VideoChunk.objects.update(poster_size=1, proxy_size=1)
    return media / chunk.file_path.name.removesuffix(".mp4")


@pytest.mark.parametrize("kind, of", BESIDE.items())
def test_it_returns_the_poster_and_the_proxy(viewer, path, beside, kind, of):
    media_type, extension = of
    expected = beside.with_suffix(f".{kind}.{extension.rpartition('.')[2]}").read_bytes()
    url = viewer.get(path.removesuffix("/content")).json()[kind]
    assert url == f"http://testserver{path.replace('content', kind)}"
    answer = viewer.get(url)
    assert (answer.status_code, body(answer), answer["Content-Type"]) == (200, expected, media_type)
    assert (answer["Content-Length"], answer["Cache-Control"]) == (str(len(expected)), "private, no-cache")
    assert answer["Content-Disposition"].endswith(f'-{VideoChunk.objects.get().pk}.{extension}"')
    assert viewer.get(url, HTTP_IF_NONE_MATCH=answer["ETag"]).status_code == 304
    part = viewer.get(url, HTTP_RANGE="bytes=0-5")
    assert (part.status_code, body(part)) == (206, expected[:6])


@pytest.mark.parametrize("kind", BESIDE)
def test_the_etag_changes_when_the_server_makes_the_file_again(viewer, path, beside, kind):
    url = path.replace("content", kind)
    first, name = viewer.get(url)["ETag"], getattr(VideoChunk.objects.get(), f"{kind}_name")
    os.utime(beside.parents[3] / name, (1, 1))
    assert viewer.get(url, HTTP_IF_NONE_MATCH=first).status_code == 200


@pytest.mark.parametrize("kind", BESIDE)
@pytest.mark.parametrize("size, detail", [(None, "video {} has no {} yet"), (0, "video {} has no {}")])
def test_it_returns_404_while_there_is_no_poster_or_proxy(viewer, path, beside, kind, size, detail):
    VideoChunk.objects.update(**{f"{kind}_size": size})
    answer = viewer.get(path.replace("content", kind))
    assert (answer.status_code, answer.json()) == (404, {"detail": detail.format(VideoChunk.objects.get().pk, kind)})
    assert viewer.get(path.removesuffix("/content")).json()[kind] is None


@pytest.mark.parametrize("kind", BESIDE)
def test_it_returns_410_for_a_missing_poster_or_proxy(viewer, path, kind):
    VideoChunk.objects.update(**{f"{kind}_size": 1})
    answer = viewer.get(path.replace("content", kind))
    detail = f"the {kind} of video {VideoChunk.objects.get().pk} is missing in the storage"
    assert (answer.status_code, answer.json()) == (410, {"detail": detail})


@pytest.mark.parametrize("kind, of", BESIDE.items())
def test_nginx_sends_the_poster_and_the_proxy(viewer, path, beside, settings, kind, of):
    settings.TRUSTED_PROXIES = [ip_network("10.0.0.0/24")]
    answer = viewer.get(path.replace("content", kind), **ACCEL)
    name = getattr(VideoChunk.objects.get(), f"{kind}_name")
    assert (answer["X-Accel-Redirect"], answer["Content-Type"]) == (f"/protected-media/{name}", of[0])
    assert body(answer) == b""


ACCEL = {"HTTP_X_ACCEL_MAPPING": "/protected-media/", "REMOTE_ADDR": "10.0.0.7"}


def test_it_sends_x_accel_redirect_to_a_trusted_proxy(viewer, path, settings):
    settings.TRUSTED_PROXIES = [ip_network("10.0.0.0/24")]
    answer = viewer.get(path, **ACCEL)
    assert answer["X-Accel-Redirect"] == f"/protected-media/{VideoChunk.objects.get().file_path.name}"
    assert (body(answer), answer["Content-Type"]) == (b"", "video/mp4")


@pytest.mark.parametrize("change", [{"REMOTE_ADDR": "10.0.1.7"}, {"HTTP_X_ACCEL_MAPPING": "/etc/"}])
def test_it_sends_no_x_accel_redirect_to_others(viewer, path, settings, change):
    settings.TRUSTED_PROXIES = [ip_network("10.0.0.0/24")]
    answer = viewer.get(path, **ACCEL | change)
    assert "X-Accel-Redirect" not in answer and body(answer) == film()


def test_it_sends_no_x_accel_redirect_without_read_permission(outsider, path, settings):
    settings.TRUSTED_PROXIES = [ip_network("10.0.0.0/24")]
    answer = outsider.get(path, **ACCEL)
    assert answer.status_code == 403 and "X-Accel-Redirect" not in answer
