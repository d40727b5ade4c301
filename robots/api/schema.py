"""Add facts that drf-spectacular cannot detect: the errors of every endpoint, and the refusal of unknown fields."""

import hashlib
import threading
from functools import cache

from drf_spectacular.contrib.django_filters import DjangoFilterExtension
from drf_spectacular.extensions import OpenApiSerializerExtension
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiResponse
from rest_framework import serializers


class Problem(serializers.Serializer):
    detail = serializers.CharField()


def problem(description: str) -> OpenApiResponse:
    """Describe an error of one endpoint; ERRORS has the errors of all endpoints."""
    return OpenApiResponse(Problem, description)


COMPONENTS = {
    "Problem": {"type": "object", "properties": {"detail": {"type": "string"}}, "required": ["detail"]},
    "Invalid": {
        "type": "object",
        "description": "The errors of each field or parameter. `detail` is about the request as a whole, "
        "`non_field_errors` about several fields together.",
        "example": {"limit": ["limit is 5000; an integer between 1 and 1000 expected"]},
    },
}

ERRORS = {
    "400": "A field or a parameter is invalid. The response names it, its value and the values expected.",
    "401": "The login, token or key is missing or invalid.",
    "403": "You do not have permission to perform this action. docs/api.md lists the permissions of each role.",
    "404": "Not found.",
    "413": "The request body is too large.",
    "415": "The media type of the request body is not supported.",
    "429": "Too many requests. Retry-After is the time to wait, in seconds.",
    "503": "The database does not answer, or the server is overloaded. Retry-After is the time to wait, in seconds.",
}


def without_trailing_slash(endpoints, **kwargs):
    """Remove the optional slash at the end, so that the documented path has none."""
    return [(path.rstrip("/"), *rest) for path, *rest in endpoints]


def with_components(result, **kwargs):
    result["components"]["schemas"] |= COMPONENTS
    return result


class Schema(AutoSchema):
    """Schema of a view with the errors that the framework answers with, in place of a list on each view."""

    def get_operation(self, *args, **kwargs):
        operation = super().get_operation(*args, **kwargs)
        if operation:
            for code in self._errors(operation):
                kind = "Invalid" if code == "400" else "Problem"
                content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{kind}"}}}
                operation["responses"].setdefault(code, {"description": ERRORS[code], "content": content})
            operation["responses"] = dict(sorted(operation["responses"].items()))
        return operation

    def _errors(self, operation: dict) -> list[str]:
        codes = [] if getattr(self.view, "touches_nothing", False) else ["429", "503"]
        if self.view.permission_classes:
            codes += ["401", "403"]
        if "requestBody" in operation:
            codes += ["400", "413", "415"]
        if any(parameter["in"] == "query" for parameter in operation.get("parameters", [])):
            codes += ["400"]
        if "{" in self.path:
            codes += ["404"]
        return codes


class StrictFieldsExtension(OpenApiSerializerExtension):
    target_class = "robots.api.serializers.StrictFields"
    match_subclasses = True

    def map_serializer(self, auto_schema, direction):
        schema = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)
        return schema | {"additionalProperties": False} if direction == "request" else schema


DjangoFilterExtension._has_gis = False  # to find out would start a compiler, as it looks for GDAL: 25 processes

_rendering = threading.Lock()


def rendered_schema(renderer: type) -> tuple[bytes, str]:
    """Return the schema as that renderer writes it, and its ETag.

    Each process renders the schema once: YAML takes 0.3 s. The lock is needed as the generator is not thread-safe.
    """
    with _rendering:
        return _rendered(renderer)


@cache
def _rendered(renderer: type) -> tuple[bytes, str]:
    content = renderer().render(_schema(), renderer_context={})
    return content, f'"{hashlib.sha256(content).hexdigest()}"'


@cache
def _schema() -> dict:
    return SchemaGenerator().get_schema(public=True)
