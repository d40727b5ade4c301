"""The admin's pages of frames: paged by key, without a count."""

import re
from itertools import chain

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from robots.tests.admin_clients import shown
from teleop.models import TeleopFrame
from teleop.tests.recordings import make_session

pytestmark = pytest.mark.django_db
LIST = "/admin/teleop/teleopframe/"


def indexes(page: str) -> list[int]:
    return [int(index) for index in re.findall(r'<td class="field-frame_index">(\d+)</td>', page)]


def pages(client, query: str):
    """Yield the frame indexes of each page, following the link to the next one."""
    while query is not None:
        page = shown(client.get(LIST + query))
        yield indexes(page)
        link = re.search(r'<a href="(\?[^"]*)">Next</a>', page)
        query = link and link[1].replace("&amp;", "&")


def test_it_pages_through_the_frames_of_a_session_in_order(staff_viewer):
    make_session([5, 6], key="another-one")
    recorded = [*range(150), *range(300, 401)]
    session = make_session(recorded, key="recorded")
    of_pages = list(pages(staff_viewer, f"?session={session.pk}"))
    assert [len(page) for page in of_pages] == [100, 100, 51]
    assert list(chain(*of_pages)) == recorded


def test_all_frames_are_newest_first(staff_viewer):
    make_session(range(201), key="recorded")
    assert list(chain(*pages(staff_viewer, ""))) == list(range(200, -1, -1))


def test_it_links_to_the_last_and_the_first_page(staff_viewer):
    session = make_session(range(250))
    first = shown(staff_viewer.get(f"{LIST}?session={session.pk}"))
    last = re.search(r'<a href="(\?[^"]*)">Last</a>', first)[1].replace("&amp;", "&")
    page = shown(staff_viewer.get(LIST + last))
    assert indexes(page) == list(range(150, 250))
    assert f'<a href="?session={session.pk}">First</a>' in page


def test_it_starts_at_the_requested_frame_index(staff_viewer):
    session = make_session(range(10))
    assert indexes(shown(staff_viewer.get(f"{LIST}?session={session.pk}&from_index=7"))) == [7, 8, 9]


@pytest.mark.parametrize("query", ["", "?session={}", "?session={}&from_index=120"])
def test_frames_are_never_counted_and_never_sorted(staff_viewer, query):
    session = make_session(range(150))
    with CaptureQueriesContext(connection) as queries:
        staff_viewer.get(LIST + query.format(session.pk))
    of_frames = [each["sql"] for each in queries if "teleop_teleopframe" in each["sql"]]
    assert 1 <= len(of_frames) <= 2 and len(queries) <= 6
    assert not [sql for sql in of_frames if "COUNT" in sql]
    orders = {sql.partition("ORDER BY ")[2].partition(" LIMIT")[0] for sql in of_frames} - {""}
    assert len(orders) == 1 and "," not in orders.pop()


@pytest.mark.parametrize("query", ["session=x", "session=0", "session=99999999999", "from_index=-1", "max_id=1.5"])
def test_it_reports_an_invalid_number(staff_viewer, query):
    make_session(range(3))
    page = shown(staff_viewer.get(f"{LIST}?{query}"))
    assert "errorlist" in page and indexes(page) == []


def test_it_shows_data_in_its_original_key_order(staff_viewer):
    data = {"observation": {"z.pos": 1e30, "a.pos": 2}, "note": "<script>"}
    session = make_session([0], data=lambda index: data)
    page = shown(staff_viewer.get(f"{LIST}{session.frames.get().pk}/change/"))
    assert page.index("z.pos") < page.index("a.pos") and "1e+30" in page and "note&quot;: &quot;&lt;script" in page


def test_frames_are_read_only(staff_admin):
    frame = make_session(range(1)).frames.get()
    page = shown(staff_admin.get(f"{LIST}{frame.pk}/change/"))
    assert "_save" not in page and "deletelink" not in page
    for path in (f"{LIST}add/", f"{LIST}{frame.pk}/delete/"):
        assert staff_admin.post(path, {"post": "yes"}).status_code == 403
    assert staff_admin.post(f"{LIST}{frame.pk}/change/", {"frame_index": 5}).status_code == 403
    assert TeleopFrame.objects.get().frame_index == 0


def test_staff_without_a_group_see_no_frames(staff_outsider):
    assert staff_outsider.get(LIST).status_code == 403
