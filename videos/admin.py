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

PREVIEWS = {
    "original": "browsers play the file",
    "proxy": "browsers play the proxy",
    "pending": "its proxy is not made yet",
    "none": "none",
}


@admin.register(VideoChunk)
class VideoChunkAdmin(LinkColumns, admin.ModelAdmin):
    """Admin to view and delete chunks: a chunk describes the file that was uploaded, so people do not edit it."""

    filterset_class = VideoFilter
    list_display = ["id", "poster", "of_session", "of_robot", "camera_key", "starts", "lasts", "codec", "file_size"]
    list_filter = [Sidebar]
    sortable_by = ["id", "starts", "file_size"]
    list_per_page = 20
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    fields = [
        "player", "preview", "of_session", "of_robot", "camera_key", "starts", "lasts", "times",
        "media_type", "codec", "picture_size", "rate", "file_size", "beside", "stored_as", "sha256",
    ]  # fmt: skip

    def has_add_permission(self, request):
        return False

    def has_change_permission(self, request, obj=None):
        return False

    def get_ordering(self, request):
        """Order by an index: the newest first, or the chunks of one session by camera and time."""
        return ["camera_key", "start_timestamp"] if request.GET.get("session") else ["-pk"]

    @admin.display(description="picture")
    def poster(self, chunk):
        if not chunk.poster_size:
            return display.NOTHING
        url = reverse("video-poster", args=[chunk.pk])
        return format_html('<img class="chunk" src="{}" alt="" loading="lazy">', url)

    @admin.display(description="video")
    def player(self, chunk):
        """Play the file that browsers play; a file that was not probed yet may be playable."""
        name = {"proxy": "video-proxy", "none": None}.get(chunk.preview, "video-content")
        if name is None:
            return "none" if chunk.facts.has_preview else chunk.warning
        url = reverse(name, args=[chunk.pk])
        return format_html('<video class="chunk" src="{}" controls muted preload="metadata"></video>', url)

    @admin.display(description="preview")
    def preview(self, chunk):
        return PREVIEWS[chunk.preview]

    @admin.display(description="times of the pictures")
    def times(self, chunk):
        if not chunk.duration_s:
            return display.NOTHING
        asked = f" (timing={chunk.timing})" if chunk.timing else ""
        return f"{chunk.duration_s:.3f} s from {chunk.first_picture_s:.3f} s, stretched by {chunk.stretch:.4f}{asked}"

    @admin.display(description="picture size")
    def picture_size(self, chunk):
        return f"{chunk.width} x {chunk.height}, {chunk.pixel_format}" if chunk.width else display.NOTHING

    @admin.display(description="poster and proxy")
    def beside(self, chunk):
        return " and ".join(filesizeformat(size or 0) for size in (chunk.poster_size, chunk.proxy_size))

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
