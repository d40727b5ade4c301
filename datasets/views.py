"""Pages for staff. They contain no data: their scripts use REST, which checks permissions."""

from django.http import Http404
from django.views.generic import DetailView, TemplateView

from datasets.fleet_statistics.query import GROUPS
from datasets.models import NAME_PATTERN, Export
from datasets.options import FORMATS, MAX_FPS, MAX_GAP_S, MIN_GAP_S, Options
from datasets.querysets import STATES
from teleop.views import StaffPage

# An export has all of these; the same as of REST.
SEES_SESSIONS = ("teleop.view_teleopsession", "teleop.view_teleopframe", "videos.view_videochunk")
FORMAT_NAMES = {
    "lerobot-v3.0": "LeRobot dataset v3.0",
    "lerobot-v2.1": "LeRobot dataset v2.1 (openpi, GR00T)",
    "mcap": "MCAP, a file for each session",
    "parquet": "Parquet, one table without films",
}


class HoursPage(StaffPage, TemplateView):
    """Hours, episodes and success rate. The query has filters of GET /statistics."""

    permission_required = "teleop.view_teleopsession"
    template_name = "datasets/hours.html"
    extra_context = {
        "title": "Hours",
        "ranges": [(7, "7 days"), (30, "30 days"), (90, "90 days"), (365, "1 year"), (0, "All")],
        "groups": [(name, name) for name in GROUPS if name != "day"],
    }


class ExportsPage(StaffPage, TemplateView):
    """The list of exports. `/exports` itself is REST."""

    permission_required = ("datasets.view_export", *SEES_SESSIONS)
    template_name = "datasets/exports.html"
    extra_context = {"title": "Exports", "states": [("", "All"), *((state, state.capitalize()) for state in STATES)]}


class NewExportPage(StaffPage, TemplateView):
    """A form for an export. The query has `sessions=17,18`, or filters of GET /sessions."""

    permission_required = ("datasets.add_export", *SEES_SESSIONS)
    template_name = "datasets/new_export.html"
    extra_context = {
        "title": "New export",
        "formats": [(name, FORMAT_NAMES[name]) for name in FORMATS],
        "name_pattern": NAME_PATTERN.replace("_.-]", r"_.\-]"),  # browsers compile it with the flag v
        "defaults": Options(),
        "max_fps": MAX_FPS,
        "min_gap_s": MIN_GAP_S,
        "max_gap_s": MAX_GAP_S,
    }


class ExportPage(StaffPage, DetailView):
    """The progress of an export, then its report and its dataset."""

    permission_required = ("datasets.view_export", *SEES_SESSIONS)
    queryset = Export.objects.only("pk", "name")
    template_name = "datasets/export.html"

    def get_object(self):
        try:
            return super().get_object()
        except Http404:
            raise Http404(f"There is no export {self.kwargs['pk']}; it may have been deleted.") from None

    def get_context_data(self, **context):
        return super().get_context_data(title=self.object.name, **context)
