"""/schema and /docs: every endpoint is explained, and the page works without internet access."""

import re

import pytest

from robots.tests.api_clients import Client

METHODS = ("get", "post", "put", "patch", "delete")


@pytest.fixture
def schema(db):
    return Client().get("/schema").json()


@pytest.fixture
def operations(schema):
    return {
        f"{method} {path}": operation
        for path, item in schema["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    }


def test_paths_have_no_trailing_slash(schema):
    assert {"/health", "/health/live", "/auth/token", "/robots", "/sessions/{id}"} <= set(schema["paths"])
    assert not [path for path in schema["paths"] if path.endswith("/") or "?" in path]


def test_every_endpoint_has_a_summary_and_a_description(operations):
    assert not [name for name, each in operations.items() if not (each.get("summary") and each.get("description"))]


def test_every_json_response_has_an_example(operations):
    answers = {
        f"{name} {status}": answer["content"]["application/json"]
        for name, each in operations.items()
        for status, answer in each["responses"].items()
        if status.startswith("2") and "application/json" in answer.get("content", {})
    }
    assert len(answers) >= 15
    assert not [name for name, answer in answers.items() if not answer.get("examples")]


def test_every_endpoint_documents_its_errors(operations):
    touches_nothing = "get /health/live"
    assert [name for name, each in operations.items() if "503" not in each["responses"]] == [touches_nothing]
    assert not [name for name, each in operations.items() if "{id}" in name and "404" not in each["responses"]]
    assert not [name for name, each in operations.items() if "requestBody" in each and "400" not in each["responses"]]


def test_the_docs_page_loads_nothing_from_another_host(db, client):
    page = client.get("/docs").content.decode()
    addresses = re.findall(r"""(?:src|href)=["']([^"']+)""", page)
    assert addresses and all(re.match("/(?!/)", address) for address in addresses)
    parts = [address for address in addresses if address.startswith(("/static/", "/docs?"))]
    assert parts and all(client.get(address).status_code == 200 for address in parts)


def test_the_schema_is_generated_once(db, monkeypatch):
    first = Client().get("/schema")
    monkeypatch.setattr("robots.api.schema.SchemaGenerator.get_schema", None)
    assert Client().get("/schema?lang=..%00&version=%0d").content == first.content


def test_the_schema_is_available_as_yaml(db):
    assert Client().get("/schema", HTTP_ACCEPT="application/yaml").content.startswith(b"openapi: 3")
