from csp.decorators import csp_replace
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import mixins
from rest_framework.decorators import action
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from datasets.api import creation, examples
from datasets.api.content import TAR, check_done, report_page, respond
from datasets.api.filters import ExportFilter
from datasets.api.serializers import DryRunSerializer, ExportSerializer, NewExportSerializer
from datasets.models import Export
from robots import audit
from robots.api.mixins import AuditedDestroyMixin, ListMixin
from robots.api.schema import problem
from videos.content import AnythingIsAccepted
from videos.views import RANGE, responses

NOT_DONE = problem("There is no such export, or it is not done.")


@extend_schema_view(
    list=extend_schema(
        summary="List exports",
        description="Returns the exports that match all filters, the newest first.",
        examples=[examples.DONE],
    ),
    retrieve=extend_schema(
        summary="Get an export",
        description="Returns the export with its state and progress.",
        examples=[examples.DONE],
    ),
    create=extend_schema(
        summary="Export sessions as a dataset",
        description="Freezes which sessions and labels the dataset has, and has it made in the background: "
        "resampled, verified against the database, and only then visible. With `dry_run` nothing is stored, and the "
        "response is an estimate.",
        request=NewExportSerializer,
        responses={
            202: ExportSerializer,
            200: OpenApiResponse(DryRunSerializer, "The estimate, with dry_run."),
            409: problem("There is an export with this name that has not failed."),
            507: problem("Too little disk space, as a part is reserved for frames; the response gives the sizes."),
        },
        examples=[examples.NEW_EXPORT, examples.BY_IDS, examples.CREATED, examples.DRY_RUN],
    ),
    destroy=extend_schema(
        summary="Delete an export",
        description="Deletes the export and its dataset permanently. If it is being made, the work stops; a download "
        "of it ends early.",
        responses={204: None},
    ),
)
class ExportViewSet(AuditedDestroyMixin, ListMixin, mixins.RetrieveModelMixin, GenericViewSet):
    queryset = Export.objects.order_by("-pk")
    serializer_class = ExportSerializer
    filterset_class = ExportFilter
    lookup_value_regex = "[0-9]{1,18}"
    # A dataset has all of these.
    also_needed = ("teleop.view_teleopsession", "teleop.view_teleopframe", "videos.view_videochunk")

    def get_queryset(self):
        return super().get_queryset().listed()

    def create(self, request):
        given = NewExportSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        if given.validated_data.get("dry_run"):
            return Response(DryRunSerializer(creation.dry_run(given.validated_data)).data)
        export = creation.create(given.validated_data, audit.actor_of(request))
        return Response(self.get_serializer(export).data, status=202)

    @extend_schema(
        summary="An export's report",
        description="Returns what was checked and what was left out: episodes, fills, trims with their reasons, "
        "warnings and the files with their SHA-256. `left_out` names the parts of a report of more than 1 MiB that "
        "are only in export/report.json of the dataset.",
        responses={200: OpenApiTypes.OBJECT, 404: NOT_DONE},
        examples=[examples.REPORT],
    )
    @action(detail=True)
    def report(self, request, pk):
        export = self.get_object()
        check_done(export)
        return Response(export.report)

    @extend_schema(
        summary="An export's report as a page",
        description="Returns the report for people, as it is in the dataset.",
        responses={(200, "text/html"): OpenApiTypes.STR, 404: NOT_DONE, 410: problem("The dataset is missing.")},
    )
    @action(detail=True, url_path=r"report\.html", url_name="page", content_negotiation_class=AnythingIsAccepted)
    @csp_replace({"default-src": ["'none'"], "style-src": ["'unsafe-inline'"], "img-src": ["data:"]})
    def report_page(self, request, pk):
        return report_page(self.get_object())

    @extend_schema(
        summary="An export's dataset",
        description="Returns the dataset as a tar, with a folder of the export's name, or a range of it; HEAD works "
        "too. A download that was interrupted can go on with Range and If-Range.",
        parameters=[RANGE],
        responses=responses(TAR) | {404: NOT_DONE},
    )
    @action(detail=True, content_negotiation_class=AnythingIsAccepted)
    def content(self, request, pk):
        return respond(self.get_object(), request)
