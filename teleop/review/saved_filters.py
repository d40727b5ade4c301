"""REST endpoints for the filters of /review that a person has saved; nobody else sees them."""

from django.core.exceptions import TooManyFieldsSent
from django.db import IntegrityError, transaction
from django.http import QueryDict
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import mixins, serializers
from rest_framework.exceptions import ValidationError
from rest_framework.viewsets import GenericViewSet

from robots.api.exceptions import Conflict
from robots.api.fields import StrictCharField, StrictFields
from robots.api.filters import check_names
from robots.api.mixins import ListMixin
from robots.api.permissions import Permissions
from robots.api.schema import problem
from teleop.api import examples
from teleop.api.filters import SessionListFilter
from teleop.models import SavedFilter, TeleopSession
from teleop.review.models import MAX_NAME, MAX_QUERY

MAX_FILTERS = 100
# Days that are relative to the day on which the filter is used, in the browser's time zone.
DAYS = {"days": ("today", "yesterday", "7", "30")}


class IsPersonWhoViewsSessions(Permissions):
    """Require a login and the permission to view sessions; a robot or an anonymous client has no filters."""

    perms_map = {method: ["teleop.view_teleopsession"] for method in Permissions.perms_map}

    def has_permission(self, request, view):
        return request.user.is_authenticated and super().has_permission(request, view)


class SavedFilterSerializer(StrictFields, serializers.ModelSerializer):
    """A selection of sessions that a person has named."""

    name = StrictCharField(max_length=MAX_NAME)
    query = StrictCharField(
        max_length=MAX_QUERY,
        allow_blank=True,
        help_text="Filters of GET /sessions as in an address, such as `task=Fold+the+towel&success=false`. `days` is "
        "one of today, yesterday, 7 and 30: the days of `from` and `to` when the page is opened.",
    )

    class Meta:
        model = SavedFilter
        fields = ["id", "name", "query"]

    def validate_query(self, text):
        try:
            query = QueryDict(text.removeprefix("?"))
        except TooManyFieldsSent:
            raise ValidationError("query has too many filters") from None
        check_query(query)
        return query.urlencode()


def check_query(query: QueryDict) -> None:
    """Raise ValidationError if GET /sessions would refuse the query without `days`."""
    for name, values in query.lists():
        if len(values) > 1:
            raise ValidationError(f"{name[:40]} is given {len(values)} times; once expected")
    filters, given = SessionListFilter.base_filters, query.dict()
    for name, words in DAYS.items():
        if (word := given.pop(name, words[0])) not in words:
            raise ValidationError(f"{name} is {word[:40]}; {', '.join(words)} expected")
    try:
        check_names(given, filters, tuple(DAYS))
    except ValidationError as error:
        raise ValidationError(next(iter(error.detail.values()))) from None
    form = SessionListFilter(given, TeleopSession.objects.none()).form
    if not form.is_valid():
        raise ValidationError([f"{name}: {' '.join(errors)}" for name, errors in form.errors.items()])


@extend_schema_view(
    list=extend_schema(
        summary="List saved filters",
        description="Returns the filters of the person who asks, oldest first.",
        examples=[examples.SAVED_FILTER],
    ),
    create=extend_schema(
        summary="Save a filter",
        description=f"Saves a filter for the person who asks; at most {MAX_FILTERS}.",
        responses={
            201: SavedFilterSerializer,
            409: problem(f"There are {MAX_FILTERS} filters, the maximum, or there is one with this name."),
        },
        examples=[examples.SAVED_FILTER],
    ),
    partial_update=extend_schema(
        summary="Change a saved filter",
        description="Changes the name or the query.",
        responses={200: SavedFilterSerializer, 409: problem("There is another filter with this name.")},
        examples=[examples.SAVED_FILTER],
    ),
    destroy=extend_schema(
        summary="Delete a saved filter", description="Deletes the filter permanently.", responses={204: None}
    ),
)
class SavedFilterViewSet(
    ListMixin,
    mixins.CreateModelMixin,
    mixins.UpdateModelMixin,
    mixins.DestroyModelMixin,
    GenericViewSet,
):
    queryset = SavedFilter.objects.order_by("pk")
    serializer_class = SavedFilterSerializer
    permission_classes = [IsPersonWhoViewsSessions]
    lookup_value_regex = "[0-9]{1,18}"
    http_method_names = ["get", "post", "patch", "delete", "head", "options"]

    def get_queryset(self):
        return super().get_queryset().filter(user=self.request.user.pk)

    def perform_create(self, serializer):
        if self.get_queryset().count() >= MAX_FILTERS:
            raise Conflict(f"you have {MAX_FILTERS} saved filters, the maximum; delete one first")
        self._save(serializer, user=self.request.user)

    def perform_update(self, serializer):
        self._save(serializer)

    def _save(self, serializer, **fields):
        try:
            with transaction.atomic():
                serializer.save(**fields)
        except IntegrityError:
            name = serializer.validated_data["name"]
            raise Conflict(f"you have a saved filter with the name {name!r}; another name expected") from None
