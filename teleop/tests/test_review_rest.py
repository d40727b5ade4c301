"""The review of sessions over REST: filters, facets, places in a list, changes of many sessions, saved filters."""

from datetime import UTC, datetime, timedelta

import pytest

from robots.models import AuditEntry, Robot
from teleop.models import TeleopSession
from teleop.tests.test_rest_sessions import add_video, make
from videos.models import VideoChunk

pytestmark = pytest.mark.django_db

T0 = datetime(2026, 1, 5, 8, tzinfo=UTC)
FOLD = {"task": "Fold the towel", "success": True, "operator": "Ada", "tags": ["towel", "left"]}
STACK = {"task": "Stack the cups", "success": False, "operator": "Bob", "tags": ["cups"], "note": "one slip"}


@pytest.fixture
def recorded() -> dict[str, TeleopSession]:
    """Return four sessions, a minute apart: two that are labelled, one that is not, and one in the trash."""
    sessions = {
        "fold": make("fold", meta_info=FOLD),
        "stack": make("stack", robot="leg", start=T0 + timedelta(minutes=1), meta_info=STACK),
        "plain": make("plain", start=T0 + timedelta(minutes=2), meta_info={"task": "Fold the towel"}),
        "trashed": make("trashed", start=T0 + timedelta(minutes=3), meta_info=FOLD, trashed_at=T0),
    }
    Robot.objects.filter(pk="leg").update(name="Right bench")
    add_video(sessions["fold"], "front")
    add_video(sessions["trashed"], "front")
    return sessions


def keys(client, query: str = "") -> list[str]:
    answer = client.get(f"/sessions?{query}")
    assert answer.status_code == 200, answer.json()
    return [session["key"] for session in answer.json()["results"]]


def counts(client, facet: str, query: str = "") -> dict:
    answer = client.get(f"/sessions/facets?{query}")
    assert answer.status_code == 200, answer.json()
    return {value["value"]: value["count"] for value in answer.json()[facet]}


@pytest.mark.parametrize(
    "query, expected",
    [
        ("", ["plain", "stack", "fold"]),
        ("task=Fold+the+towel", ["plain", "fold"]),
        ("operator=Bob", ["stack"]),
        ("success=true", ["fold"]),
        ("unlabelled=true", ["plain"]),
        ("unlabelled=false", ["stack", "fold"]),
        ("tag=towel", ["fold"]),
        ("trash=true", ["trashed"]),
        ("trash=false", ["plain", "stack", "fold"]),
        ("ordering=oldest", ["fold", "stack", "plain"]),
    ],
)
def test_it_selects_sessions(viewer, recorded, query, expected):
    assert keys(viewer, query) == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        ("tow", ["plain", "fold"]),
        ("TOWEL fold", ["plain", "fold"]),
        ("ada", ["fold"]),
        ("left", ["fold"]),
        ("slip", ["stack"]),
        ("leg", ["stack"]),
        ("right", ["stack"]),
        ("towel cups", []),
        ("100%", []),
        ('","', []),
    ],
)
def test_it_finds_parts_of_words(viewer, recorded, text, expected):
    assert keys(viewer, f"search={text.replace('%', '%25')}") == expected


def test_it_selects_by_ids(viewer, recorded):
    wanted = [recorded["fold"].pk, recorded["stack"].pk, 10**8]
    assert keys(viewer, f"ids={','.join(map(str, wanted))}") == ["stack", "fold"]


@pytest.mark.parametrize("ids", ["1,x", "0", "1,", ",".join(map(str, range(1, 1002)))])
def test_it_refuses_unusable_ids(viewer, ids):
    answer = viewer.get(f"/sessions?ids={ids}")
    assert (answer.status_code, list(answer.json())) == (400, ["ids"])


def test_it_counts_by_value(viewer, recorded):
    assert counts(viewer, "task") == {"Fold the towel": 2, "Stack the cups": 1}
    assert counts(viewer, "success") == {True: 1, False: 1, None: 1}
    assert counts(viewer, "operator") == {"Ada": 1, "Bob": 1, None: 1}
    assert counts(viewer, "tag") == {"towel": 1, "left": 1, "cups": 1}
    assert counts(viewer, "camera") == {"front": 1}
    facets = viewer.get("/sessions/facets").json()
    assert facets["total"] == 3
    assert facets["robot"] == [
        {"value": "arm", "count": 2, "name": None},
        {"value": "leg", "count": 1, "name": "Right bench"},
    ]


def test_it_counts_in_the_trash(viewer, recorded):
    assert counts(viewer, "camera", "trash=true") == {"front": 1}
    assert viewer.get("/sessions/facets?trash=true").json()["total"] == 1


def test_a_facet_ignores_its_own_filters(viewer, recorded):
    query = "task=Fold+the+towel&success=true"
    assert counts(viewer, "task", query) == {"Fold the towel": 1}
    assert counts(viewer, "success", query) == {True: 1, None: 1}
    assert counts(viewer, "success", "task=Fold+the+towel&unlabelled=true") == {True: 1, None: 1}
    assert counts(viewer, "tag", query) == {"towel": 1, "left": 1}
    assert counts(viewer, "camera", query) == {"front": 1}
    assert viewer.get(f"/sessions/facets?{query}").json()["total"] == 1


def test_a_facet_lists_the_chosen_value_without_sessions(viewer, recorded):
    assert counts(viewer, "task", "task=Sew") == {"Fold the towel": 2, "Stack the cups": 1, "Sew": 0}


def test_a_facet_lists_the_most_frequent_values(viewer, recorded):
    for number in range(60):
        make(f"rare-{number}", meta_info={"task": f"Task {number:02}"})
    found = list(counts(viewer, "task"))
    assert (len(found), found[0]) == (50, "Fold the towel")
    assert list(counts(viewer, "task", "task=Task+59"))[50:] == ["Task 59"]


def test_it_refuses_unknown_filters_of_facets(viewer):
    answer = viewer.get("/sessions/facets?taks=Fold")
    assert (answer.status_code, list(answer.json())) == (400, ["taks"])


def test_it_returns_the_place_in_the_list(viewer, recorded):
    fold, stack, plain = (recorded[key].pk for key in ("fold", "stack", "plain"))
    place = {"position": 2, "total": 3, "previous": plain, "next": fold}
    assert viewer.get(f"/sessions/{stack}/position").json() == place
    assert viewer.get(f"/sessions/{stack}/position?ordering=oldest").json() == place | {"previous": fold, "next": plain}
    alone = {"position": 1, "total": 1, "previous": None, "next": None}
    assert viewer.get(f"/sessions/{stack}/position?success=false").json() == alone


def test_it_returns_the_neighbours_of_a_session_that_left_the_list(viewer, recorded):
    place = {"position": None, "total": 1, "previous": recorded["plain"].pk, "next": None}
    assert viewer.get(f"/sessions/{recorded['stack'].pk}/position?unlabelled=true").json() == place


def test_it_orders_by_duration(viewer):
    for key, seconds in (("b", 30), ("a", 20), ("live", None), ("c", 20)):
        make(key, seconds=seconds)
    assert keys(viewer, "ordering=longest") == ["b", "c", "a", "live"]
    assert keys(viewer, "ordering=shortest") == ["live", "a", "c", "b"]
    sessions = [TeleopSession.objects.get(key=key).pk for key in ("b", "c", "a", "live")]
    around = [None, *sessions, None]
    for position, pk in enumerate(sessions, start=1):
        place = viewer.get(f"/sessions/{pk}/position?ordering=longest").json()
        assert list(place.values()) == [position, 4, around[position - 1], around[position + 1]]


def test_it_orders_by_duration_to_the_microsecond(viewer):
    late = T0.replace(hour=23, minute=59, second=59)  # these sessions end on the next day
    for key, start, more in (
        ("a", T0, timedelta(microseconds=1)),
        ("b", late + timedelta(microseconds=999_999), timedelta()),
        ("c", late + timedelta(microseconds=1), timedelta(microseconds=-1)),
        ("d", late.replace(year=2096, microsecond=500_000), timedelta(microseconds=2)),
    ):
        make(key, start=start, seconds=(timedelta(seconds=20) + more).total_seconds())
    assert keys(viewer, "ordering=longest") == ["d", "a", "b", "c"]
    assert keys(viewer, "min_duration=20") == ["d", "b", "a"]


def test_it_shows_the_poster_of_the_first_camera_that_has_one(viewer, recorded):
    add_video(recorded["fold"], "wrist")
    add_video(recorded["fold"], "wrist", start=5.0)
    wrist = VideoChunk.objects.filter(camera_key="wrist").first()
    VideoChunk.objects.filter(pk=wrist.pk).update(poster_size=100)
    shown = {row["key"]: (row["cameras"], row["poster"]) for row in viewer.get("/sessions/review").json()["results"]}
    with_poster = (["front", "wrist"], f"/videos/{wrist.pk}/poster")
    assert shown == {"fold": with_poster, "stack": ([], None), "plain": ([], None)}
    detail = viewer.get(f"/sessions/{recorded['fold'].pk}").json()
    assert (detail["cameras"], detail["poster"]) == with_poster


def test_it_moves_a_session_to_the_trash_and_back(curator, recorded):
    path = f"/sessions/{recorded['fold'].pk}"
    answer = curator.post(f"{path}/trash")
    assert (answer.status_code, keys(curator)) == (200, ["plain", "stack"])
    assert answer.json()["trashed_at"] == curator.get(path).json()["trashed_at"] is not None
    assert curator.post(f"{path}/trash").json()["trashed_at"] == answer.json()["trashed_at"]
    assert (curator.post(f"{path}/restore").json()["trashed_at"], len(keys(curator))) == (None, 3)
    entries = AuditEntry.objects.filter(object_id=recorded["fold"].pk).order_by("pk")
    assert [(entry.actor, list(entry.changes)) for entry in entries] == [("curator", ["trashed_at"])] * 2
    assert entries[0].changes["trashed_at"][0] is None is entries[1].changes["trashed_at"][1]


def test_it_refuses_to_trash_a_live_session(curator):
    live = make("live", seconds=None)
    answer = curator.post(f"/sessions/{live.pk}/trash")
    assert (answer.status_code, answer.json()["detail"]) == (409, f"session {live.pk} is live; end it first")


@pytest.mark.parametrize("path", ["trash", "restore"])
def test_only_people_who_may_delete_use_the_trash(viewer, arm, recorded, path):
    for client in (viewer, arm):
        assert client.post(f"/sessions/{recorded['fold'].pk}/{path}").status_code == 403


def bulk(client, **changes):
    return client.post("/sessions/bulk", changes)


@pytest.mark.parametrize(
    "count, says", [(0, "0 values; at least 1 expected"), (1001, "1001 values; at most 1000 expected")]
)
def test_it_names_how_many_ids_there_are_and_the_bound(curator, count, says):
    assert bulk(curator, ids=[1] * count, trash=True).json() == {"ids": [says]}


def test_it_labels_many_sessions(curator, recorded):
    ids = [recorded["fold"].pk, recorded["plain"].pk]
    answer = bulk(curator, ids=ids, meta_info={"success": False}, add_tags=["slip", "left"], remove_tags=["towel"])
    assert (answer.status_code, answer.json()) == (200, {"changed": ids, "refused": {}})
    labels = {key: TeleopSession.objects.get(key=key).labels for key in ("fold", "plain", "stack")}
    assert (labels["fold"]["success"], labels["fold"]["tags"]) == (False, ["left", "slip"])
    assert (labels["plain"]["success"], labels["plain"]["tags"]) == (False, ["slip", "left"])
    assert labels["stack"]["tags"] == ["cups"]
    assert AuditEntry.objects.filter(action="changed").count() == 2


def test_it_sets_the_task_and_the_operator_of_many_sessions(curator, recorded):
    ids = [recorded["stack"].pk, recorded["plain"].pk]
    answer = bulk(curator, ids=ids, meta_info={"task": "Sew", "operator": "Kim"}, seen={"operator": None})
    sentence = f"session {ids[0]}: someone else has changed operator; read the session again"
    assert (answer.status_code, answer.json()) == (200, {"changed": ids[1:], "refused": {str(ids[0]): sentence}})
    assert keys(curator, "task=Sew&operator=Kim") == ["plain"]
    bulk(curator, ids=ids[1:], meta_info={"task": None, "operator": None}, seen={"task": "Sew", "operator": "Kim"})
    assert TeleopSession.objects.get(key="plain").meta_info == {}


@pytest.mark.parametrize(
    "labels, sentence",
    [
        ({"task": "x" * 501}, f"task is '{'x' * 39} (501 characters); a text of 1 to 500 characters expected"),
        ({"task": ""}, "task is '' (0 characters); a text of 1 to 500 characters expected"),
        ({"operator": 5}, "operator is 5; a text of 1 to 150 characters expected"),
    ],
)
def test_it_names_the_bound_of_a_label_of_many_sessions(curator, recorded, labels, sentence):
    answer = bulk(curator, ids=[recorded["plain"].pk], meta_info=labels)
    assert (answer.status_code, answer.json()) == (400, {"meta_info": {next(iter(labels)): [sentence]}})


def test_it_changes_the_others_if_one_is_refused(curator, recorded):
    live = make("live", seconds=None)
    answer = bulk(curator, ids=[live.pk, 10**8, recorded["fold"].pk], trash=True).json()
    assert answer["changed"] == [recorded["fold"].pk]
    assert answer["refused"] == {
        str(live.pk): f"session {live.pk} is live; end it first",
        "100000000": "there is no session 100000000; it may have been deleted",
    }
    assert keys(curator, "trash=true") == ["trashed", "fold"]


def test_it_does_not_overwrite_a_label_that_another_person_has_set(curator, recorded):
    stack, plain = recorded["stack"].pk, recorded["plain"].pk
    answer = bulk(curator, ids=[stack, plain], meta_info={"success": True}, seen={"success": None}).json()
    sentence = f"session {stack}: someone else has changed success; read the session again"
    assert answer == {"changed": [plain], "refused": {str(stack): sentence}}
    assert [TeleopSession.objects.get(pk=pk).labels["success"] for pk in (stack, plain)] == [False, True]


def test_it_refuses_more_tags_than_a_session_may_have(curator, recorded):
    tags = [f"tag {number}" for number in range(49)]
    answer = bulk(curator, ids=[recorded["fold"].pk, recorded["stack"].pk], add_tags=tags).json()
    sentence = f"session {recorded['fold'].pk}: it would have 51 tags; at most 50 expected"
    assert answer == {"changed": [recorded["stack"].pk], "refused": {str(recorded["fold"].pk): sentence}}


@pytest.mark.parametrize(
    "changes, field",
    [
        ({}, "non_field_errors"),
        ({"seen": {"success": None}}, "non_field_errors"),
        ({"trash": "yes"}, "trash"),
        ({"trash": None}, "trash"),
        ({"add_tags": [1]}, "add_tags"),
        ({"meta_info": {"tags": []}, "add_tags": ["x"]}, "meta_info"),
        ({"meta_info": {"success": "yes"}}, "meta_info"),
        ({"ids": []}, "ids"),
        ({"ids": [True], "trash": True}, "ids"),
        ({"ids": list(range(1, 1002)), "trash": True}, "ids"),
        ({"label": "x"}, "label"),
    ],
)
def test_it_refuses_unusable_changes_of_many_sessions(curator, changes, field):
    answer = bulk(curator, **{"ids": [1]} | changes)
    assert (answer.status_code, list(answer.json())) == (400, [field])


def test_the_trash_in_a_change_of_many_sessions_needs_the_permission_to_delete(curator, recorded):
    from django.contrib.auth.models import Group, Permission

    Group.objects.get(name="curator").permissions.remove(Permission.objects.get(codename="delete_teleopsession"))
    assert bulk(curator, ids=[recorded["fold"].pk], trash=True).status_code == 403
    assert bulk(curator, ids=[recorded["fold"].pk], add_tags=["x"]).status_code == 200


def test_viewers_and_robots_cannot_change_many_sessions(viewer, arm, recorded):
    for client in (viewer, arm):
        assert bulk(client, ids=[recorded["fold"].pk], add_tags=["x"]).status_code == 403


def save(client, name="Failures", query="success=false&days=yesterday"):
    return client.post("/filters", {"name": name, "query": query})


def test_it_saves_filters_of_a_person(viewer, curator):
    saved = save(viewer)
    assert (saved.status_code, set(saved.json())) == (201, {"id", "name", "query"})
    path = f"/filters/{saved.json()['id']}"
    changed = viewer.patch(path, {"name": "Yesterday"})
    assert (changed.status_code, changed.json()["query"]) == (200, "success=false&days=yesterday")
    assert [row["name"] for row in viewer.get("/filters").json()["results"]] == ["Yesterday"]
    assert curator.get("/filters").json()["results"] == []
    for refused in (curator.patch(path, {"name": "mine"}), curator.delete(path)):
        assert refused.status_code == 404
    assert viewer.delete(path).status_code == 204
    assert viewer.get("/filters").json()["results"] == []


@pytest.mark.parametrize(
    "query", ["taks=Fold", "success=maybe", "days=ever", "task=a&task=b", "from=yesterday", "limit=5", "success="]
)
def test_it_refuses_an_unusable_saved_filter(viewer, query):
    answer = save(viewer, query=query)
    assert (answer.status_code, list(answer.json())) == (400, ["query"])


def test_it_refuses_a_second_filter_of_one_name(viewer, curator):
    assert save(viewer).status_code == 201
    assert save(viewer).status_code == 409
    assert save(curator).status_code == 201


def test_it_refuses_more_than_a_hundred_filters(viewer, monkeypatch):
    monkeypatch.setattr("teleop.review.saved_filters.MAX_FILTERS", 1)
    assert save(viewer).status_code == 201
    answer = save(viewer, name="Another")
    assert (answer.status_code, answer.json()["detail"]) == (
        409,
        "you have 1 saved filters, the maximum; delete one first",
    )


def test_only_people_who_view_sessions_save_filters(outsider, arm, anonymous):
    for client, status in ((outsider, 403), (arm, 403), (anonymous, 401)):
        assert save(client).status_code == client.get("/filters").status_code == status
