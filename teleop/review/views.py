"""REST endpoints for the review of sessions: facets, the place in a list, changes of many sessions, and the trash."""

from django.db import transaction
from django_filters.utils import translate_validation
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied
from rest_framework.response import Response

from robots import audit
from robots.api.exceptions import Conflict
from robots.api.filters import check_names
from robots.api.permissions import MayChange, Permissions
from robots.api.schema import problem
from teleop.api import examples
from teleop.api.filters import SessionListFilter
from teleop.api.serializers import ReviewedSessionSerializer, SessionDetailSerializer
from teleop.models import SessionIsLive, TeleopSession
from teleop.review.bulk import change_all
from teleop.review.facets import facets
from teleop.review.serializers import BulkAnswerSerializer, BulkSerializer, FacetsSerializer, PositionSerializer

MAY_DELETE = "teleop.delete_teleopsession"


class MayDelete(Permissions):
    """Require the permission to delete for POST too, as it moves an object to the trash or back."""

    perms_map = {**Permissions.perms_map, "POST": Permissions.perms_map["DELETE"]}


def filters_of(request) -> SessionListFilter:
    """Return the filters of the query; raises ValidationError for an unknown name or an unusable value."""
    check_names(request.query_params, SessionListFilter.base_filters)
    filters = SessionListFilter(request.query_params, TeleopSession.objects.all())
    if not filters.is_valid():
        raise translate_validation(filters.errors)
    return filters


class ReviewMixin:
    """Actions of the sessions' viewset; its get_queryset locks the row for `trash` and `restore`."""

    @extend_schema(
        summary="List sessions for a review",
        description="Returns the sessions of `GET /sessions` with more fields: judgement, sparkline, cameras, poster.",
        responses=ReviewedSessionSerializer(many=True),
        examples=[examples.REVIEWED_SESSION],
    )
    @action(detail=False)
    def review(self, request):
        return self.list(request)

    @extend_schema(
        summary="Count sessions by task, label, robot, operator, tag and camera",
        description="Counts the sessions that match the filters of `GET /sessions`, by value. Each facet ignores the "
        "filters for its own value, so that the other values that could be chosen are counted too.",
        responses=FacetsSerializer,
        examples=[examples.FACETS],
        filters=True,
    )
    @action(detail=False, pagination_class=None)
    def facets(self, request):
        filters = filters_of(request)

        def select(without=()):
            return filters.filter_queryset(TeleopSession.objects.all(), without).order_by()

        return Response(facets(select, filters.chosen))

    @extend_schema(
        summary="The place of a session in a list",
        description="Returns which of the sessions of `GET /sessions` with these filters it is, and its neighbours: "
        "those that are, or would be, before and after it in this order.",
        responses=PositionSerializer,
        examples=[examples.POSITION],
        filters=True,
    )
    @action(detail=True, pagination_class=None)
    def position(self, request, pk):
        filters = filters_of(request)
        return Response(filters.qs.order_by().position(self.get_object(), filters.order)._asdict())

    @extend_schema(
        summary="Change many sessions",
        description="Labels (task, success, operator, note), tags, trashes or restores up to 1,000 sessions, one after "
        "the other. A session that "
        "cannot be changed, such as a live one that should be trashed, does not stop the change of the others. `trash` "
        "needs the permission to delete sessions.",
        request=BulkSerializer,
        responses={200: BulkAnswerSerializer},
        examples=[examples.BULK, examples.BULK_ANSWER],
        filters=False,
    )
    @action(detail=False, methods=["post"], permission_classes=[MayChange], pagination_class=None)
    def bulk(self, request):
        changes = BulkSerializer(data=request.data)
        changes.is_valid(raise_exception=True)
        if "trash" in changes.validated_data and not request.user.has_perm(MAY_DELETE):
            raise PermissionDenied("trash needs the permission to delete sessions")
        return Response(change_all(changes.validated_data, audit.actor_of(request)))

    @extend_schema(
        summary="Move a session to the trash",
        description="Hides the session from lists, facets, statistics and exports. After TRASH_DAYS the server deletes "
        "it permanently. A robot that resumes the session restores it.",
        request=None,
        responses={200: SessionDetailSerializer, 409: problem("The session is live.")},
        examples=[examples.SESSION_DETAIL],
        filters=False,
    )
    @action(detail=True, methods=["post"], permission_classes=[MayDelete])
    def trash(self, request, pk):
        return self._set_trashed(True)

    @extend_schema(
        summary="Restore a session from the trash",
        description="Shows the session in lists, facets, statistics and exports again.",
        request=None,
        responses={200: SessionDetailSerializer},
        examples=[examples.SESSION_DETAIL],
        filters=False,
    )
    @action(detail=True, methods=["post"], permission_classes=[MayDelete])
    def restore(self, request, pk):
        return self._set_trashed(False)

    @transaction.atomic
    def _set_trashed(self, is_trashed: bool) -> Response:
        session = self.get_object()
        try:
            session.set_trashed(is_trashed, audit.actor_of(self.request))
        except SessionIsLive as error:
            raise Conflict(str(error)) from error
        return Response(self.get_serializer(session).data)
