from django.contrib import admin

from robots.models import Robot


@admin.register(Robot)
class RobotAdmin(admin.ModelAdmin):
    list_display = ["id", "name", "robot_type", "status", "last_heartbeat", "ip_address", "last_error_code"]
    list_filter = ["status", "robot_type"]
    search_fields = ["id", "name"]
    readonly_fields = [
        "status",
        "last_heartbeat",
        "ip_address",
        "created_at",
        "last_error_code",
        "last_error_detail",
        "last_error_at",
    ]
