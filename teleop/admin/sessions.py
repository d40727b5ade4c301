from django.apps import apps
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.views.main import SEARCH_VAR
from django.db import transaction
from django.db.models import Sum
from django.http import HttpResponseRedirect, QueryDict
from django.template.defaultfilters import filesizeformat
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import urlencode
from rest_framework.exceptions import ValidationError

from robots import audit
from robots.admin_tools import display
from robots.admin_tools.sidebar import Sidebar
from robots.close_codes import Close
from robots.worker_messages import close_connections
from teleop.admin.changelists import SessionChangeList, export_url, filters_of, may_export, query_of_replay, shows_trash
from teleop.admin.forms import LabelForm, TaskForm
from teleop.admin.session_columns import SessionColumns
from teleop.api.filters import TrashFilter
from teleop.api.serializers import SessionChangeSerializer
from teleop.models import STAFF_LABELS, SessionIsLive, TeleopSession
from teleop.review.bulk import change_all
from teleop.review.search import search

MOST_NAMED = 100
MOST_EXPORTED = 1000  # by their ids, in an address of at most 16 KiB


@admin.register(TeleopSession)
class TeleopSessionAdmin(SessionColumns):
    filterset_class = TrashFilter
    form = LabelForm
    list_display = [
        *("id", "pages", "of_robot", "started", "duration", "task", "success", "operator", "recorded"),
        *("effective_fps", "missing", "cameras", "quality_in_words"),
    ]
    list_filter = [Sidebar]
    search_fields = [
        *("robot__id", "robot__name"),
        *("meta_info__task", "meta_info__tags", "meta_info__operator", "meta_info__note"),
    ]
    search_help_text = "Robot, task, tag, operator or note"
    ordering = ["-start_time", "-id"]
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    actions = ["mark_success", "mark_failure", "set_task", "export", "end", "trash", "restore"]
    recording = [
        *("of_robot", "started", "ended", "duration", "stepped", "recorded", "fps", "effective_fps", "missing"),
        *("cameras", "reported"),
    ]
    metadata = ["meta", "staff_labels", "key", "updated", "trashed"]
    readonly_fields = [*recording, "quality_in_words", *metadata]
    fieldsets = [
        ("Labels", {"fields": STAFF_LABELS}),
        ("Recording", {"fields": recording}),
        ("Quality", {"fields": ["quality_in_words"]}),
        ("Metadata", {"fields": metadata}),
    ]

    def has_add_permission(self, request):
        return False

    def get_queryset(self, request):
        return super().get_queryset(request).with_frame_span()

    def get_changelist(self, request, **kwargs):
        return SessionChangeList

    def change_view(self, request, object_id, form_url="", extra_context=None):
        """Link the replay with the selection of the list from which this page was opened."""
        listed = QueryDict(request.GET.get("_changelist_filters"))
        columns = ["action_checkbox"] * bool(self.get_actions(request)) + self.get_list_display(request)
        context = {"list_query": urlencode(query_of_replay(listed, columns))} | (extra_context or {})
        return super().change_view(request, object_id, form_url, context)

    def get_search_results(self, request, queryset, search_term):
        """Search as GET /sessions does, so that a replay that is opened from the list finds the same sessions."""
        return search(queryset, search_term), False

    def save_model(self, request, obj, form, change):
        self._label(request, obj.pk, form.labels)

    def log_change(self, request, obj, message):
        """Do nothing: save_model records the change, as it reads the values under the row's lock."""

    def delete_model(self, request, obj):
        obj.delete(actor=audit.actor_of(request))

    def delete_queryset(self, request, queryset):
        queryset.delete(actor=audit.actor_of(request))

    def _label(self, request, session_id: int, labels: dict) -> TeleopSession | None:
        """Label one session like a PATCH, under the lock of only this session's row; raises ValidationError."""
        with transaction.atomic():
            # no_key: a plain FOR UPDATE would block the session's frames, as their foreign key locks this row too.
            session = TeleopSession.objects.select_for_update(no_key=True).filter(pk=session_id).first()
            if session is not None:
                changes = SessionChangeSerializer(session, data={"meta_info": labels})
                changes.is_valid(raise_exception=True)
                changes.save(actor=audit.actor_of(request))
        return session

    def _label_all(self, request, queryset, **labels):
        labelled = []
        for session_id in list(queryset.values_list("pk", flat=True)):
            try:
                labelled += filter(None, [self._label(request, session_id, labels)])
            except ValidationError as error:
                self.message_user(request, f"session {session_id}: {display.problems(error.detail)}", messages.ERROR)
        self.message_user(request, f"Labelled {display.count(len(labelled), 'session')}.", messages.SUCCESS)

    @admin.action(description="Mark as success", permissions=["change"])
    def mark_success(self, request, queryset):
        self._label_all(request, queryset, success=True)

    @admin.action(description="Mark as failure", permissions=["change"])
    def mark_failure(self, request, queryset):
        self._label_all(request, queryset, success=False)

    @admin.action(description="Set task…", permissions=["change"])
    def set_task(self, request, queryset):
        form = TaskForm(request.POST if "apply" in request.POST else None)
        if form.is_valid():
            return self._label_all(request, queryset, **form.cleaned_data)
        context = {"title": "Set task", "form": form, "sessions": queryset, "checkbox": ACTION_CHECKBOX_NAME}
        page = self.admin_site.each_context(request) | context
        return TemplateResponse(request, "admin/teleop/teleopsession/set_task.html", page)

    def has_export_permission(self, request):
        return may_export(request)

    @admin.action(description="Export…", permissions=["export"])
    def export(self, request, queryset):
        """Open the page of a new export; all sessions of a list without a search are exported by its filters."""
        is_by_filters = request.POST.get("select_across") == "1" and not request.GET.get(SEARCH_VAR)
        if is_by_filters and not shows_trash(request):
            return HttpResponseRedirect(export_url(filters_of(request)))
        chosen = [str(pk) for pk in queryset.order_by("pk").values_list("pk", flat=True)]
        if len(chosen) > MOST_EXPORTED:
            bounds = f"at most {MOST_EXPORTED:,} expected. Clear the search, and select sessions by filters"
            self.message_user(request, f"{len(chosen):,} sessions are selected; {bounds}.", messages.ERROR)
            return None
        return HttpResponseRedirect(export_url({"sessions": ",".join(chosen)}))

    @admin.action(description="End live sessions", permissions=["change"])
    def end(self, request, queryset):
        live = list(queryset.filter(end_time=None))
        audit.record(audit.actor_of(request), audit.Action.ENDED, live)
        for session in live:
            close_connections(int(Close.ENDED), session_id=session.pk)
        self.message_user(request, f"Ending {display.count(len(live), 'live session')}.", messages.SUCCESS)

    @admin.action(description="Move to the trash", permissions=["delete"])
    def trash(self, request, queryset):
        self._set_trashed(request, queryset, True, "Moved {} to the trash.")

    @admin.action(description="Restore from the trash", permissions=["delete"])
    def restore(self, request, queryset):
        self._set_trashed(request, queryset, False, "Restored {} from the trash.")

    def _set_trashed(self, request, queryset, is_trashed: bool, message: str) -> None:
        changes = {"ids": list(queryset.values_list("pk", flat=True)), "trash": is_trashed}
        answer = change_all(changes, audit.actor_of(request))
        for sentence in answer["refused"].values():
            self.message_user(request, sentence, messages.ERROR)
        self.message_user(request, message.format(display.count(len(answer["changed"]), "session")), messages.SUCCESS)

    def get_deleted_objects(self, objs, request):
        """Return counts; Django would collect all frames to list them."""
        sessions = TeleopSession.objects.filter(pk__in=[session.pk for session in objs])
        videos = apps.get_model("videos", "VideoChunk").objects.filter(session__in=sessions)
        of_videos = videos.totals()
        counts = {
            "sessions": len(objs),
            "frames": f"{sessions.aggregate(frames=Sum('frame_count'))['frames'] or 0:,}",
            "videos": f"{of_videos['count']:,} ({filesizeformat(of_videos['size'])})",
        }
        live = [f"session {session.pk} is live; end it first" for session in sessions.live()]
        names = [
            f"session {session.pk}: {session}, {display.count(session.frame_count, 'frame')}"
            for session in objs[:MOST_NAMED]
        ]
        more = [f"and {len(objs) - MOST_NAMED:,} more"] if len(objs) > MOST_NAMED else []
        return [*names, *more], counts, set(), live

    def delete_view(self, request, object_id, extra_context=None):
        """Delete without the single transaction of Django's view: others can write after each batch of frames."""
        try:
            return self._delete_view(request, object_id, extra_context)
        except SessionIsLive as error:  # it went live after the page asked for confirmation
            return self._refused(request, error)

    def response_action(self, request, queryset):
        try:
            return super().response_action(request, queryset)
        except SessionIsLive as error:
            return self._refused(request, error)

    def _refused(self, request, error):
        self.message_user(request, str(error), messages.ERROR)
        return HttpResponseRedirect(reverse("admin:teleop_teleopsession_changelist"))
