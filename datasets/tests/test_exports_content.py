"""GET /exports/{id}/content: the dataset as a tar, whole or by ranges."""

import io
import shutil
import tarfile

import pytest

from datasets.tests.export_rows import FILES, created, done

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.once,
    pytest.mark.usefixtures("media"),
    pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume"),
]


def get(client, export, method="get", **headers):
    return getattr(client, method)(f"/exports/{export.pk}/content", headers=headers)


def body(answer) -> bytes:
    return b"".join(answer)


def test_it_sends_the_dataset_as_a_tar(viewer):
    answer = get(viewer, done())
    content = body(answer)
    assert (answer.status_code, answer["Content-Length"]) == (200, str(len(content)))
    assert (answer["Content-Type"], answer["Accept-Ranges"]) == ("application/x-tar", "bytes")
    assert answer["Content-Disposition"] == 'attachment; filename="towels.tar"'
    assert answer["X-Accel-Buffering"] == "no"
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        assert sorted(tar.getnames()) == sorted(f"towels/{name}" for name in FILES)


def test_an_interrupted_download_goes_on_with_range_and_if_range(viewer):
    export = done()
    first = get(viewer, export)
    content, etag = body(first), first["ETag"]
    rest = get(viewer, export, range="bytes=1000-", if_range=etag)
    assert (rest.status_code, rest["Content-Range"]) == (206, f"bytes 1000-{len(content) - 1}/{len(content)}")
    assert body(rest) == content[1000:]
    assert body(get(viewer, export, range="bytes=1000-", if_range='"other"')) == content


def test_it_answers_conditions_and_unusable_ranges(viewer):
    export = done()
    etag = get(viewer, export)["ETag"]
    assert get(viewer, export, if_none_match=etag).status_code == 304
    assert get(viewer, export, if_match='"other"').status_code == 412
    assert get(viewer, export, range="bytes=999999-").status_code == 416


def test_head_has_the_size_and_no_content(viewer):
    answer = get(viewer, done(), "head")
    assert int(answer["Content-Length"]) > 2000 and body(answer) == b""


def test_another_dataset_has_another_etag(viewer):
    assert get(viewer, done("a"))["ETag"] != get(viewer, done("b"))["ETag"]


def test_it_answers_404_until_it_is_done(viewer):
    answer = get(viewer, created())
    assert answer.status_code == 404 and "has no dataset; it is pending" in answer.json()["detail"]


def test_it_answers_410_if_the_folder_is_missing(viewer):
    export = done()
    shutil.rmtree(export.folder)
    answer = get(viewer, export)
    assert (answer.status_code, answer.json()["detail"]) == (
        410, f"the dataset of export {export.pk} is missing in the storage",
    )  # fmt: skip


def test_a_deletion_during_the_download_ends_it_early(viewer):
    export = done()
    answer = get(viewer, export)
    shutil.rmtree(export.folder)
    with pytest.raises(EOFError, match="was deleted"):
        body(answer)
