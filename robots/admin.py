from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Count, OuterRef, Subquery
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import path, reverse

from robots import audit
from robots.accounts import admin as people_admin  # noqa: F401 - Django imports only this module of an app's admin
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

    def response_add(self, request, obj, post_url_continue=None):
        if "_issue_key" in request.POST and self.has_change_permission(request, obj):
            return self._key_page(request, obj, self._issue_key(request, obj))
        return super().response_add(request, obj, post_url_continue)

    def get_fieldsets(self, request, obj=None):
        return self.fieldsets if obj else self.fieldsets[:1]

    @admin.display(description="status", ordering="status")
    def presence(self, robot):
        return display.status("offline", "disabled") if robot.disabled else display.status(robot.status)

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
        view = self.admin_site.admin_view
        key = path("<path:object_id>/key/", view(self.issue_key), name="robots_robot_key")
        disabled = path("<path:object_id>/disabled/", view(self.set_disabled), name="robots_robot_disabled")
        return [key, disabled, *super().get_urls()]

    def issue_key(self, request, object_id):
        """Ask, then issue a key and show it once, so that no cache may store the page (admin_view forbids it)."""
        robot = self._changeable(request, object_id)
        return self._key_page(request, robot, self._issue_key(request, robot) if request.method == "POST" else None)

    def set_disabled(self, request, object_id):
        """Ask, then disable the robot, or enable it if it is disabled."""
        robot = self._changeable(request, object_id)
        if request.method != "POST":
            context = self.admin_site.each_context(request) | {"title": f"Disable {robot}", "robot": robot}
            return TemplateResponse(request, "admin/robots/robot/disable.html", context)
        disabled = request.POST.get("disabled") == "1"
        with transaction.atomic():
            changed = Robot.objects.filter(pk=robot.pk, disabled=not disabled).update(disabled=disabled)
            robot.disabled = disabled
            robot.close_if_disabled()
            if changed:
                changes = {"disabled": [not disabled, disabled]}
                audit.record(audit.actor_of(request), audit.Action.CHANGED, [robot], changes)
        result = "disabled" if disabled else "enabled. Its client asks again within 11 minutes, or when it is restarted"
        self.message_user(request, f"Robot {robot} is {result}.", messages.SUCCESS)
        return redirect("admin:robots_robot_change", robot.pk)

    def _changeable(self, request, object_id) -> Robot:
        robot = get_object_or_404(Robot, pk=unquote(object_id))
        if not self.has_change_permission(request, robot):
            raise PermissionDenied
        return robot

    def _issue_key(self, request, robot) -> str:
        with transaction.atomic():
            key = robot.issue_key()
            audit.record(audit.actor_of(request), audit.Action.KEY_ISSUED, [robot])
        return key

    def _key_page(self, request, robot, key: str | None):
        context = {"title": f"Key of {robot}", "robot": robot, "key": key, **client_wheel.urls(request)}
        context |= self.admin_site.each_context(request)
        return TemplateResponse(request, "admin/robots/robot/issue_key.html", context)


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
