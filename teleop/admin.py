from django.contrib import admin

from teleop.models import TeleopFrame, TeleopSession


@admin.register(TeleopSession)
class TeleopSessionAdmin(admin.ModelAdmin):
    list_display = ["id", "robot", "start_time", "end_time", "fps", "frame_count"]
    list_filter = ["robot"]
    readonly_fields = ["key", "start_time", "end_time", "frame_count", "updated_at"]
    show_full_result_count = False

    def has_add_permission(self, request):
        return False

    def has_delete_permission(self, request, obj=None):
        return obj is not None and not obj.is_live and super().has_delete_permission(request, obj)


@admin.register(TeleopFrame)
class TeleopFrameAdmin(admin.ModelAdmin):
    """Read-only: what a robot sent is evidence."""

    list_display = ["id", "robot_id", "session_id", "frame_index", "timestamp"]
    ordering = ["-id"]
    show_full_result_count = False

    def has_add_permission(self, request):
        return False

    def has_change_permission(self, request, obj=None):
        return False

    def has_delete_permission(self, request, obj=None):
        return False
