from django.db.models import IntegerField
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import LimitOffsetPagination
from rest_framework.utils.urls import replace_query_param

from robots.api.compiled import CompiledList
from robots.models import ROBOT_ID

MAX_OFFSET = MAX_ID = 2**31 - 1
AFTER_ID = "after_id"


class Pages(LimitOffsetPagination):
    """Pagination by `limit` and `offset`, or by `limit` and `after_id`; refuses a value out of bounds.

    A row that is added or removed between two requests shifts the offsets, so that a page repeats or skips a row. Pages
    by `after_id` are ordered by id, and begin after this id.
    """

    default_limit = 100
    max_limit = 1000
    is_by_id = False
    last_id = None

    def paginate_queryset(self, queryset, request, view=None):
        if AFTER_ID not in request.query_params:
            if compiled := getattr(queryset, "compiled", None):
                return self._paginate_compiled(queryset, compiled, request)
            return super().paginate_queryset(queryset, request, view)
        if "offset" in request.query_params:
            raise ValidationError({"offset": ["offset cannot be combined with after_id; omit one of the two"]})
        self.is_by_id, self.request, self.limit = True, request, self.get_limit(request)
        after = self.get_after_id(request, queryset.model)
        self.count = self.get_count(queryset)
        rows = list(queryset.filter(pk__gt=after).order_by("pk")[: self.limit + 1])
        self.last_id = rows[self.limit - 1].pk if len(rows) > self.limit else None
        return rows[: self.limit]

    def _paginate_compiled(self, queryset, compiled: CompiledList, request) -> list:
        self.request, self.limit, self.offset = request, self.get_limit(request), self.get_offset(request)
        rows = compiled.fetch(limit=self.limit, offset=self.offset)
        self.count = rows[0].total if rows else self.get_count(queryset)
        return rows

    def get_next_link(self):
        if not self.is_by_id:
            return super().get_next_link()
        return self.last_id and replace_query_param(self.request.build_absolute_uri(), AFTER_ID, self.last_id)

    def get_previous_link(self):
        return None if self.is_by_id else super().get_previous_link()

    def get_limit(self, request):
        return self._number(request, "limit", self.default_limit, 1, self.max_limit)

    def get_offset(self, request):
        return self._number(request, "offset", 0, 0, MAX_OFFSET)

    def get_after_id(self, request, model) -> int | str:
        if isinstance(model._meta.pk, IntegerField):
            return self._number(request, AFTER_ID, 0, 0, MAX_ID)
        text = request.query_params[AFTER_ID]
        if text and not ROBOT_ID.fullmatch(text):
            raise ValidationError({AFTER_ID: [f"after_id is {text[:40]}; {ROBOT_ID.pattern} or empty expected"]})
        return text

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
        has_numbers = isinstance(view.queryset.model._meta.pk, IntegerField)
        by_id = {
            "name": AFTER_ID,
            "required": False,
            "in": "query",
            "description": f"Return the rows after this id, ordered by id; {'0' if has_numbers else 'empty'}: from the "
            "first one. Rows that are added meanwhile shift no page. Not together with `offset`.",
            "schema": {"type": "integer", "minimum": 0, "maximum": MAX_ID} if has_numbers else {"type": "string"},
        }
        given = [parameter | {"schema": schema} for parameter, schema in zip(parameters, bounds, strict=True)]
        return [*given, by_id]
