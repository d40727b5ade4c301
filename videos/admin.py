from django.contrib import admin

from videos.models import VideoChunk


@admin.register(VideoChunk)
class VideoChunkAdmin(admin.ModelAdmin):
    """To look at and to delete: a chunk is what its upload was found to be, so it is not written by hand."""

    list_display = ["id", "session", "camera_key", "start_timestamp", "end_timestamp", "size"]
    list_select_related = ["session"]

    def has_add_permission(self, request):
        return False

    def has_change_permission(self, request, obj=None):
        return False
