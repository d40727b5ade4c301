from django.contrib import admin
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.html import format_html_join

from datasets.api.filters import ExportFilter
from datasets.models import Export
from robots.admin_tools import display
from robots.admin_tools.sidebar import Sidebar

STATUSES = {"done": "online", "failed": "failure"}


@admin.register(Export)
class ExportAdmin(admin.ModelAdmin):
    """Exports with their progress, to view and delete. The page of a selection, and REST, create them."""

    filterset_class = ExportFilter
    list_display = ["name", "format", "shown_state", "done", "sessions", "episodes", "lasts", "size", "by", "created"]
    list_filter = [Sidebar]
    sortable_by = []
    ordering = ["-pk"]
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    fields = [
        "name", "format", "shown_state", "done", "problem", "where", "sessions", "episodes", "lasts", "size", "files",
        "by", "created", "finished", "expires", "chosen",
    ]  # fmt: skip

    def get_queryset(self, request):
        return super().get_queryset(request).listed()

    def has_add_permission(self, request):
        return False

    def has_change_permission(self, request, obj=None):
        return False

    @admin.display(description="state")
    def shown_state(self, export):
        return display.status(STATUSES.get(export.shown_state, "offline"), export.shown_state)

    @admin.display(description="progress")
    def done(self, export):
        return display.NOTHING if export.progress is None else f"{export.progress:.0%}"

    @admin.display(description="error")
    def problem(self, export):
        return export.error or export.problem or display.NOTHING

    @admin.display(description="sessions")
    def sessions(self, export):
        return display.number(f"{export.session_count:,}")

    @admin.display(description="length")
    def lasts(self, export):
        return display.number(display.duration(export.seconds))

    @admin.display(description="size")
    def size(self, export):
        return display.NOTHING if export.size_bytes is None else display.number(filesizeformat(export.size_bytes))

    @admin.display(description="files")
    def files(self, export):
        """Link the dataset and its report."""
        if export.state != Export.State.DONE:
            return display.NOTHING
        links = [("content", "dataset (tar)"), ("page", "report")]
        urls = [(reverse(f"export-{name}", args=[export.pk]), text) for name, text in links]
        return format_html_join(", ", "{}", ((display.link(url, text),) for url, text in urls))

    @admin.display(description="created by")
    def by(self, export):
        return export.created_by or display.NOTHING

    @admin.display(description="created")
    def created(self, export):
        return display.moment(export.created_at)

    @admin.display(description="finished")
    def finished(self, export):
        return display.moment(export.finished_at)

    @admin.display(description="expires")
    def expires(self, export):
        return display.moment(export.expires_at)

    @admin.display(description="options")
    def chosen(self, export):
        return display.data(export.options)
