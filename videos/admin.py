from datetime import UTC, datetime

from django.contrib import admin
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.html import format_html

from robots.admin_tools import display
from robots.admin_tools.sidebar import Sidebar
from teleop.admin.links import LinkColumns
from videos.filters import VideoFilter
from videos.models import VideoChunk


@admin.register(VideoChunk)
class VideoChunkAdmin(LinkColumns, admin.ModelAdmin):
    """Admin to view and delete chunks: a chunk describes the file that was uploaded, so people do not edit it."""

    filterset_class = VideoFilter
    list_display = ["id", "player", "of_session", "of_robot", "camera_key", "starts", "lasts", "file_size"]
    list_filter = [Sidebar]
    sortable_by = ["id", "starts", "file_size"]
    list_per_page = 20  # the browser loads the first picture of each
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    fields = ["player", "of_session", "of_robot", "camera_key", "starts", "lasts", "file_size", "stored_as", "sha256"]

    def has_add_permission(self, request):
        return False

    def has_change_permission(self, request, obj=None):
        return False

    def get_ordering(self, request):
        """Order by an index: the newest first, or the chunks of one session by camera and time."""
        return ["camera_key", "start_timestamp"] if request.GET.get("session") else ["-pk"]

    @admin.display(description="video")
    def player(self, chunk):
        url = reverse("video-content", args=[chunk.pk])
        return format_html('<video class="chunk" src="{}" controls muted preload="metadata"></video>', url)

    @admin.display(description="start", ordering="start_timestamp")
    def starts(self, chunk):
        return display.moment(datetime.fromtimestamp(chunk.start_timestamp, UTC))

    @admin.display(description="length")
    def lasts(self, chunk):
        return display.number(display.duration(chunk.end_timestamp - chunk.start_timestamp))

    @admin.display(description="size", ordering="size")
    def file_size(self, chunk):
        return display.number(filesizeformat(chunk.size))

    @admin.display(description="file")
    def stored_as(self, chunk):
        return chunk.file_path.name  # as a field it would be a link to a path that is not served
