from django.contrib import admin, messages
from django.urls import NoReverseMatch, reverse

from robots import audit
from robots.admin_tools import display
from robots.admin_tools.read_only import ReadOnlyAdmin
from teleop.api.jobs import JobFilter
from teleop.background.kinds import KINDS
from teleop.background.models import Job
from teleop.background.restart import restart


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    """Background work that runs, waits for another attempt, or has failed."""

    filterset_class = JobFilter
    list_display = ["id", "kind", "of", "shown_state", "attempts", "done", "in_short", "updated"]
    fields = ["kind", "of", "shown_state", "attempts", "done", "error", "updated", "holder"]
    ordering = ["-pk"]
    actions = ["restart"]

    def get_queryset(self, request):
        return super().get_queryset(request).filter(kind__in=KINDS)

    @admin.display(description="object")
    def of(self, job):
        model = KINDS[job.kind].model._meta
        text = f"{model.verbose_name} {job.object_id}"
        try:
            return display.link(
                reverse(f"admin:{model.app_label}_{model.model_name}_change", args=[job.object_id]), text
            )
        except NoReverseMatch:
            return text

    @admin.display(description="state")
    def shown_state(self, job):
        return display.status({"failed": "failure", "running": "online"}.get(job.state, "offline"), job.state)

    @admin.display(description="progress")
    def done(self, job):
        return display.NOTHING if job.progress is None else f"{job.progress:.0%}"

    @admin.display(description="error")
    def in_short(self, job):
        return display.clipped(job.error or None)

    def updated(self, job):
        return display.ago(job.updated_at)

    @admin.action(description="Restart failed work", permissions=["restart"])
    def restart(self, request, queryset):
        actor = audit.actor_of(request)
        restarted = sum(restart(job, actor) for job in queryset)
        self.message_user(request, f"{display.count(restarted, 'job')} restarted.", messages.SUCCESS)

    def has_restart_permission(self, request):
        return request.user.has_perm("teleop.change_job")
