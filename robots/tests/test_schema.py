"""/schema is rendered once for any number of concurrent requests."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.test import Client
from drf_spectacular.renderers import OpenApiYamlRenderer2

from robots.api import schema

YAML = {"Accept": "application/yaml"}


@pytest.fixture
def renderings(monkeypatch) -> list:
    """Return a list to which each rendering from now on is added."""
    rendered = []
    render = OpenApiYamlRenderer2.render

    def counted(self, *args, **kwargs):
        rendered.append(self)
        return render(self, *args, **kwargs)

    monkeypatch.setattr(OpenApiYamlRenderer2, "render", counted)
    schema._rendered.cache_clear()
    schema._schema.cache_clear()
    return rendered


def test_it_renders_once_for_concurrent_requests(renderings):
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: Client().get("/schema", headers=YAML), range(8)))
    assert [answer.status_code for answer in answers] == [200] * 8
    assert len({answer.content for answer in answers}) == 1
    assert len(renderings) == 1


def test_it_returns_304_for_a_matching_etag():
    first = Client().get("/schema")
    assert (first["Content-Type"], first["Cache-Control"]) == ("application/json", "public, no-cache")
    again = Client().get("/schema", headers={"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert Client().get("/schema", headers={"If-None-Match": first["ETag"]} | YAML).status_code == 200
