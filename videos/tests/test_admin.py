"""The admin's pages of videos."""

import re

import pytest

from robots.tests.admin_clients import shown
from teleop.tests.recordings import make_session
from teleop.tests.test_rest_sessions import add_video
from videos.models import VideoChunk

pytestmark = pytest.mark.django_db
LIST = "/admin/videos/videochunk/"


def cameras(page: str) -> list[str]:
    return re.findall(r'<td class="field-camera_key">([^<]*)</td>', page)


@pytest.fixture
def session(db):
    session = make_session(key="recorded")
    for camera, start in (("wrist", 0.0), ("front", 5.0), ("front", 1703318400.0)):
        add_video(session, camera, start)
    return session


@pytest.mark.parametrize("count", [1, 20])
def test_a_page_takes_a_constant_number_of_queries(staff_viewer, django_assert_num_queries, count):
    session = make_session()
    for number in range(count):
        add_video(session, "front", number)
    with django_assert_num_queries(6):
        assert shown(staff_viewer.get(LIST)).count("<video") == count


def test_it_shows_a_video_player(staff_viewer, session):
    chunk = VideoChunk.objects.first()
    player = f'<video class="chunk" src="/videos/{chunk.pk}/content" controls muted preload="metadata"></video>'
    for path in (LIST, f"{LIST}{chunk.pk}/change/"):
        assert player in shown(staff_viewer.get(path))


def test_it_groups_videos_of_a_session_by_camera(staff_viewer, session):
    add_video(make_session(key="another-one"), "other")
    assert cameras(shown(staff_viewer.get(f"{LIST}?session={session.pk}"))) == ["front", "front", "wrist"]
    assert cameras(shown(staff_viewer.get(f"{LIST}?session={session.pk}&camera_key=wrist"))) == ["wrist"]


def test_it_lists_the_newest_videos_first(staff_viewer, session):
    add_video(make_session(key="another-one"), "other")
    assert cameras(shown(staff_viewer.get(LIST)))[0] == "other"


def test_curators_delete_videos_and_all_other_changes_are_refused(staff_admin, staff_curator, session):
    chunk = VideoChunk.objects.first()
    page = shown(staff_admin.get(f"{LIST}{chunk.pk}/change/"))
    assert "_save" not in page
    assert staff_admin.post(f"{LIST}{chunk.pk}/change/", {"camera_key": "x"}).status_code == 403
    assert staff_admin.get(f"{LIST}add/").status_code == 403
    staff_curator.post(f"{LIST}{chunk.pk}/delete/", {"post": "yes"})
    assert VideoChunk.objects.count() == 2


def test_a_viewer_sees_no_controls_and_is_refused(staff_viewer, session):
    chunk = VideoChunk.objects.first()
    page = shown(staff_viewer.get(LIST)) + shown(staff_viewer.get(f"{LIST}{chunk.pk}/change/"))
    assert not [word for word in ("delete_selected", "deletelink", "_save") if word in page]
    assert staff_viewer.post(f"{LIST}{chunk.pk}/delete/", {"post": "yes"}).status_code == 403
    staff_viewer.post(LIST, {"action": "delete_selected", "_selected_action": [chunk.pk], "post": "yes"})
    assert VideoChunk.objects.count() == 3


def test_staff_without_a_group_see_no_videos(staff_outsider):
    assert staff_outsider.get(LIST).status_code == 403
