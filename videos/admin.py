from django.contrib import admin

from videos.models import VideoChunk


@admin.register(VideoChunk)
class VideoChunkAdmin(admin.ModelAdmin):
    list_display = ["id", "session", "camera_key", "start_timestamp", "end_timestamp", "size"]
    list_select_related = ["session"]
    raw_id_fields = ["session", "robot"]
