from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Count, OuterRef, Subquery
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.decorators import method_decorator

from robots import audit
from robots.admin_tools import client_wheel, display
from robots.admin_tools.forms import RobotForm
from robots.admin_tools.read_only import ReadOnlyAdmin
from robots.admin_tools.sidebar import Sidebar
from robots.api.filters import AuditFilter, RobotFilter
from robots.close_codes import Close
from robots.models import AuditEntry, Robot
from robots.worker_messages import close_connections


@admin.register(Robot)
class RobotAdmin(admin.ModelAdmin):
    filterset_class = RobotFilter
    list_display = ["id", "name", "robot_type", "presence", "heartbeat", "live_session", "last_error", "ip_address"]
    list_filter = [Sidebar]
    search_fields = ["id", "name"]
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    actions = ["disconnect"]
    form = RobotForm
    seen = ["presence", "heartbeat", "live_session", "ip_address", "created"]
    error = ["last_error_code", "last_error_detail", "last_error_seen"]
    readonly_fields = [*seen, *error]
    fieldsets = [
        (None, {"fields": RobotForm.Meta.fields}),
        ("Presence", {"fields": seen}),
        ("Last error", {"fields": error}),
    ]

    def get_queryset(self, request):
        sessions = Robot.sessions.rel.related_model.objects
        newest_live = sessions.live().filter(robot=OuterRef("pk")).order_by("-updated_at")
        return super().get_queryset(request).annotate(live_session_id=Subquery(newest_live.values("pk")[:1]))

    def get_readonly_fields(self, request, obj=None):
        return [*self.readonly_fields, "id"] if obj else self.readonly_fields  # a robot keeps its id

    def get_fieldsets(self, request, obj=None):
        return self.fieldsets if obj else self.fieldsets[:1]

    @admin.display(description="status", ordering="status")
    def presence(self, robot):
        return display.status(robot.status)

    @admin.display(description="last heartbeat", ordering="last_heartbeat")
    def heartbeat(self, robot):
        return display.ago(robot.last_heartbeat)

    @admin.display(description="live session")
    def live_session(self, robot):
        if robot.live_session_id is None:
            return display.NOTHING
        return display.link(reverse("robot-live", args=[robot.pk]), f"session {robot.live_session_id}")

    @admin.display(ordering="last_error_at")
    def last_error(self, robot):
        return display.clipped(f"{robot.last_error_code}: {robot.last_error_detail}") if robot.last_error_code else ""

    @admin.display(description="when")
    def last_error_seen(self, robot):
        return display.moment(robot.last_error_at)

    @admin.display(description="registered")
    def created(self, robot):
        return display.moment(robot.created_at)

    def render_change_form(self, request, context, *args, **options):
        return super().render_change_form(request, context | client_wheel.urls(request), *args, **options)

    def save_model(self, request, obj, form, change):
        """Save only the changed fields: saving all of them would restore an older key or heartbeat."""
        obj.save(update_fields=form.changed_data if change else None)

    @admin.action(description="Disconnect selected robots", permissions=["change"])
    def disconnect(self, request, queryset):
        audit.record(audit.actor_of(request), audit.Action.DISCONNECTED, queryset)
        for robot in queryset:
            close_connections(Close.DISCONNECTED, robot_id=robot.pk)
        robots = display.count(len(queryset), "robot")
        result = f"Disconnecting {robots}. A robot that still streams reconnects after a minute."
        self.message_user(request, result, messages.SUCCESS)

    def get_deleted_objects(self, objs, request):
        """Return counts only, as Django would collect the sessions to list them. A robot with sessions stays."""
        robots = Robot.objects.filter(pk__in=[robot.pk for robot in objs])
        held = robots.annotate(count=Count("sessions")).filter(count__gt=0)
        protected = [f"{display.count(robot.count, 'session')} of robot {robot}" for robot in held]
        return list(robots), {"robots": len(robots)}, set(), protected

    def get_urls(self):
        key = path("<path:object_id>/key/", self.admin_site.admin_view(self.issue_key), name="robots_robot_key")
        return [key, *super().get_urls()]

    def issue_key(self, request, object_id):
        """Ask, then issue a key and show it once, so that no cache may store the page (admin_view forbids it)."""
        robot = get_object_or_404(Robot, pk=unquote(object_id))
        if not self.has_change_permission(request, robot):
            raise PermissionDenied
        key = None
        if request.method == "POST":
            with transaction.atomic():
                key = robot.issue_key()
                audit.record(audit.actor_of(request), audit.Action.KEY_ISSUED, [robot])
        context = {"title": f"Key of {robot}", "robot": robot, "key": key, **client_wheel.urls(request)}
        context |= self.admin_site.each_context(request)
        return TemplateResponse(request, "admin/robots/robot/issue_key.html", context)


admin.site.unregister(User)


@admin.register(User)
class AuditedUserAdmin(UserAdmin):
    # Django saves the password and records it in two transactions.
    user_change_password = method_decorator(transaction.atomic)(UserAdmin.user_change_password)


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    """Read-only list of all entries; the history page of an object shows its own entries to users that may view it."""

    filterset_class = AuditFilter
    list_display = ["id", "when", "who", "action", "what", "in_short"]
    ordering = ["-id"]
    fields = ["when", "who", "action", "what", "in_full"]

    def when(self, entry):
        return display.moment(entry.at)

    def who(self, entry):
        return entry.who

    @admin.display(description="object")
    def what(self, entry):
        return f"{entry.model.rpartition('.')[2]} {entry.object_id}: {entry.object_repr}"

    @admin.display(description="changes")
    def in_short(self, entry):
        return display.clipped("; ".join(entry.change_lines))

    @admin.display(description="changes")
    def in_full(self, entry):
        return display.data(entry.changes)
