"""The admin's pages of videos."""

import re

import pytest

from robots.tests.admin_clients import shown
from teleop.tests.recordings import make_session
from teleop.tests.test_rest_sessions import add_video
from videos.models import VideoChunk

pytestmark = [pytest.mark.django_db, pytest.mark.once]
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
    VideoChunk.objects.update(poster_size=1)
    with django_assert_num_queries(6):
        page = shown(staff_viewer.get(LIST))
    assert page.count('<img class="chunk"') == count and "<video" not in page


def test_the_list_shows_the_poster_if_there_is_one(staff_viewer, session):
    chunk = VideoChunk.objects.first()
    VideoChunk.objects.filter(pk=chunk.pk).update(poster_size=1)
    page = shown(staff_viewer.get(LIST))
    assert page.count("<img class") == 1
    assert f'<img class="chunk" src="/videos/{chunk.pk}/poster" alt="" loading="lazy">' in page


DEPTH = {"playable": False, "codec": "hevc", "pixel_format": "gray12le", "proxy_size": 0}


@pytest.mark.parametrize(
    "facts, player, preview",
    [
        ({}, "content", "browsers play the file"),
        ({"playable": True, "proxy_size": 0}, "content", "browsers play the file"),
        ({"playable": False}, "content", "its proxy is not made yet"),
        ({"playable": False, "proxy_size": 1}, "proxy", "browsers play the proxy"),
        (DEPTH, None, "depth: stored, no preview (gray12le in hevc)"),
    ],
)
def test_the_page_of_a_video_plays_the_file_that_browsers_play(staff_viewer, session, facts, player, preview):
    chunk = VideoChunk.objects.first()
    VideoChunk.objects.filter(pk=chunk.pk).update(**facts)
    page = shown(staff_viewer.get(f"{LIST}{chunk.pk}/change/"))
    src = f'<video class="chunk" src="/videos/{chunk.pk}/{player}" controls muted preload="metadata"></video>'
    assert (src in page) == (player is not None) and page.count("<video") == (player is not None)
    assert preview in page


def test_the_page_of_a_video_shows_what_the_probe_found(staff_viewer, session):
    chunk = VideoChunk.objects.first()
    facts = {
        "codec": "h264",
        "pixel_format": "yuv420p",
        "width": 640,
        "height": 480,
        "rate": 29.97,
        "timing": "nominal",
    }
    VideoChunk.objects.filter(pk=chunk.pk).update(first_picture_s=0.067, duration_s=0.8, **facts)
    page = shown(staff_viewer.get(f"{LIST}{chunk.pk}/change/"))
    for expected in ("h264", "640 x 480, yuv420p", "29.97", "0.800 s from 0.067 s, stretched by 1.2500", "nominal"):
        assert expected in page


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
