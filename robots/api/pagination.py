from rest_framework.exceptions import ValidationError
from rest_framework.pagination import LimitOffsetPagination

MAX_OFFSET = 2**31 - 1


class Pages(LimitOffsetPagination):
    """Pagination by `limit` and `offset` that refuses a value out of bounds; DRF would silently use another."""

    default_limit = 100
    max_limit = 1000

    def get_limit(self, request):
        return self._number(request, "limit", self.default_limit, 1, self.max_limit)

    def get_offset(self, request):
        return self._number(request, "offset", 0, 0, MAX_OFFSET)

    def _number(self, request, name: str, default: int, low: int, high: int) -> int:
        text = request.query_params.get(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdecimal() and len(text) <= 10 and low <= int(text) <= high):
            raise ValidationError({name: [f"{name} is {text[:40]}; an integer between {low} and {high} expected"]})
        return int(text)

    def get_schema_operation_parameters(self, view):
        parameters = super().get_schema_operation_parameters(view)
        bounds = [
            {"type": "integer", "minimum": 1, "maximum": self.max_limit, "default": self.default_limit},
            {"type": "integer", "minimum": 0, "maximum": MAX_OFFSET, "default": 0},
        ]
        return [parameter | {"schema": schema} for parameter, schema in zip(parameters, bounds, strict=True)]
