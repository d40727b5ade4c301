"""Background work over REST: the list of jobs with their errors, and the restart of failed jobs."""

import django_filters
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from robots import audit
from robots.api.exceptions import Conflict
from robots.api.mixins import ListMixin
from robots.api.permissions import MayChange
from robots.api.schema import problem
from teleop.api import examples
from teleop.background.models import STATES, Job
from teleop.background.restart import restart


class JobFilter(django_filters.FilterSet):
    kind = django_filters.CharFilter(
        max_length=20, help_text="Kind of work: quality, webhook, ranges, trash, probe, poster, proxy or export."
    )
    state = django_filters.ChoiceFilter(
        choices=[(state, state) for state in STATES], method="by_state", help_text="running, waiting or failed."
    )

    def by_state(self, queryset, name, value):
        return queryset.in_state(value)


class JobSerializer(serializers.ModelSerializer):
    state = serializers.ChoiceField(
        STATES, read_only=True, help_text="running; waiting for its next attempt; or failed, until it is restarted."
    )
    progress = serializers.FloatField(read_only=True, allow_null=True, help_text="0 to 1; null if it is not known.")
    error = serializers.CharField(read_only=True, help_text="Why the last attempt failed.")
    attempts = serializers.IntegerField(read_only=True, help_text="Attempts so far; the third is the last.")
    object_id = serializers.IntegerField(
        read_only=True,
        help_text="The id of the session (quality, trash), of the webhook, of the task's ranges, of the video (probe, "
        "poster, proxy), or of the export.",
    )

    class Meta:
        model = Job
        fields = ["id", "kind", "object_id", "state", "attempts", "progress", "error", "updated_at"]
        read_only_fields = fields


@extend_schema_view(
    list=extend_schema(
        summary="List background work",
        description="Returns the work that runs, waits for another attempt, or has failed; the newest first. Work that "
        "was not begun has no entry, and neither has work that is done.",
        examples=[examples.JOB],
    ),
    retrieve=extend_schema(
        summary="Get a piece of background work",
        description="Returns the work if it runs, waits for another attempt, or has failed.",
        examples=[examples.JOB],
    ),
)
class JobViewSet(ListMixin, mixins.RetrieveModelMixin, GenericViewSet):
    queryset = Job.objects.order_by("-pk")
    serializer_class = JobSerializer
    filterset_class = JobFilter
    lookup_value_regex = "[0-9]{1,18}"

    @extend_schema(
        summary="Restart failed work",
        description="Lets failed work be done again, with three new attempts.",
        request=None,
        responses={200: JobSerializer, 409: problem("The work has not failed.")},
        examples=[examples.RESTARTED_JOB],
    )
    @action(detail=True, methods=["post"], permission_classes=[MayChange])
    def restart(self, request, pk):
        job = self.get_object()
        if not restart(job, audit.actor_of(request)):
            raise Conflict(f"job {job.pk} has not failed; it is {job.state}")
        job.refresh_from_db()
        return Response(self.get_serializer(job).data)
