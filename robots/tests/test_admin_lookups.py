"""The admin's lists answer the queries that their pages offer, and no others."""

import re
from html import unescape

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.urls import reverse

from robots.tests.admin_clients import client_of, shown
from teleop.tests.recordings import make_session
from teleop.tests.test_rest_sessions import add_video
from tests.browser.users import staff

pytestmark = pytest.mark.django_db

EVIL = "^(([a-f0-9])+)+!$"
LOOKUPS = ["", "__regex", "__iregex", "__startswith", "__icontains", "__contains", "__gt", "__isnull", "__in"]
HOSTILE = [
    "data__icontains",
    "session__key__regex",
    "session__robot__key_hash__startswith",
    "robot__key_hash__regex",
    "sessions__key__regex",
    "user__password__startswith",
    "groups__user__password__regex",
    "meta_info__note__regex",
    "pk__regex",
    "nonsense",
]


def list_of(model) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


@pytest.fixture
def root(db):
    return client_of(User.objects.create_superuser("root"))


@pytest.mark.parametrize("model, model_admin", admin.site._registry.items(), ids=lambda each: str(each))
def test_it_refuses_every_lookup_without_a_filter(root, model, model_admin):
    request = root.get("/admin/").wsgi_request
    own = [f"{field.name}{lookup}" for field in model._meta.get_fields() for lookup in LOOKUPS]
    offered = model_admin.offered_lookups(request)
    assert not [name for name in offered if "regex" in name or "key" in name.replace("camera_key", "")]
    for name in {*own, *HOSTILE} - offered:
        assert not model_admin.lookup_allowed(name, EVIL, request), name
    assert root.get(list_of(model), {own[0] + "__regex": EVIL}).status_code == 400


@pytest.mark.parametrize(
    "query",
    [
        {"key__regex": EVIL},
        {"key__startswith": "0"},
        {"robot__key_hash__regex": EVIL},
        {"frames__data__icontains": "x"},
    ],
)
def test_it_refuses_a_viewers_disallowed_lookup_before_querying_data(staff_viewer, query, django_assert_num_queries):
    make_session(key="a" * 32)
    with django_assert_num_queries(4):  # the login's: session, user, permissions
        assert staff_viewer.get("/admin/teleop/teleopsession/", query).status_code == 400


def test_every_link_and_filter_that_a_list_offers_works(root):
    session = make_session(range(3), robot="arm")
    make_session(robot="arm", is_live=True)
    add_video(session, "front", 1.0)
    staff("viewer", "viewer")
    seen = set()
    for model in admin.site._registry:
        page = shown(root.get(list_of(model)))
        links = {unescape(link) for link in re.findall(r'href="(\?(?!o=)[^"]+)"', page)}
        names = set(re.findall(r'<(?:input|select)[^>]* name="([a-z_]+)"', page.partition('class="sidebar-form"')[2]))
        for query in [*links, f"?{'&'.join(f'{name}=1' for name in names)}"]:
            answer = root.get(list_of(model) + query)
            assert (answer.status_code, answer.get("Location")) == (200, None), query
        seen |= {*links, *names}
    assert {"robot", "task", "from", "camera_key", "text", "?is_staff__exact=1"} <= seen
    assert any("created__gte" in each for each in seen)


def test_the_links_between_the_lists_work(root):
    session = make_session(range(3), robot="arm")
    page = shown(root.get(f"/admin/teleop/teleopsession/{session.pk}/change/"))
    for link in (f"/admin/teleop/teleopframe/?session={session.pk}", f"/admin/videos/videochunk/?session={session.pk}"):
        assert link in page
        assert root.get(link).status_code == 200
    assert root.get(f"/admin/teleop/teleopframe/?session={session.pk}&from_index=1").status_code == 200
    assert root.get("/admin/teleop/teleopframe/?max_id=5").status_code == 200


@pytest.mark.parametrize("search", ["a " * 11, "a" * 201])
def test_it_limits_the_length_of_a_search(root, search):
    make_session(robot="a")
    page = shown(root.get("/admin/teleop/teleopsession/", {"q": search}))
    assert "at most 10 words and 200 characters expected" in page
    assert "0 teleop sessions" in page
    assert "1 teleop session" in shown(root.get("/admin/teleop/teleopsession/", {"q": "a " * 10}))
