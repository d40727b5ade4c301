from django.contrib import admin
from django.templatetags.static import static
from django.urls import reverse
from django.utils.html import format_html

from robots.admin_tools import display
from teleop.admin.links import robot_link
from teleop.querysets import DURATION

QUALITY = {
    "idle_share": "idle {:.0%}",
    "jerk": "jerk {:.3g}",
    "fps_jitter": "jitter {:.0%}",
    "duration_ratio": "{:.2g} x median duration",
}


class SessionColumns(admin.ModelAdmin):
    """Columns of a session, in the list and on its page."""

    @admin.display(description="robot", ordering="robot_id")
    def of_robot(self, session):
        return robot_link(session.robot_id)

    @admin.display(ordering="start_time")
    def started(self, session):
        return display.moment(session.start_time)

    def ended(self, session):
        return display.status("live") if session.is_live else display.moment(session.end_time)

    @admin.display(ordering="meta_info__task")
    def task(self, session):
        return display.clipped(session.labels["task"])

    @admin.display(ordering="meta_info__success")
    def success(self, session):
        match session.labels["success"]:
            case bool() as is_success:
                return display.status("success" if is_success else "failure")
            case other:
                return display.clipped(other)

    def tags(self, session):
        return display.text(session.labels["tags"])

    @admin.display(ordering="meta_info__operator")
    def operator(self, session):
        return display.clipped(session.labels["operator"])

    def note(self, session):
        return display.text(session.labels["note"])

    @admin.display(ordering=DURATION)
    def duration(self, session):
        return display.status("live") if session.is_live else display.number(display.duration(session.duration_s))

    @admin.display(description="clock steps")
    def stepped(self, session):
        steps = [f"{step['step_s']:+,.1f} s at frame {step['frame_index']}" for step in session.clock_steps or []]
        return display.text("; ".join(steps) or None)

    @admin.display(description="events")
    def reported(self, session):
        """Return the list that the script fills: it has the words for the replay too, and local times."""
        script = static("teleop/adminevents.js")
        return format_html(
            '<ul class="events" data-session="{}"></ul><script type="module" src="{}"></script>', session.pk, script
        )

    @admin.display(description="frames", ordering="frame_count")
    def recorded(self, session):
        url = reverse("admin:teleop_teleopframe_changelist", query={"session": session.pk})
        return display.number(display.link(url, f"{session.frame_count:,}"))

    @admin.display(description="effective fps")
    def effective_fps(self, session):
        return display.number(display.fixed(session.effective_fps, 1))

    def missing(self, session):
        return display.number(display.fixed(session.missing_frames))

    def cameras(self, session):
        return display.clipped(", ".join(session.cameras) or None)

    @admin.display(description="quality")
    def quality_in_words(self, session):
        """Describe the known quality numbers; missing frames and the duration have their own columns."""
        known = {name: value for name, value in (session.quality or {}).items() if value is not None}
        parts = [words.format(known[name]) for name, words in QUALITY.items() if name in known]
        parts += ["clock stepped"] * bool(session.clock_steps)
        for kind, found in known.get("servo_health", {}).items():
            if found["frames_over"]:
                parts.append(f"{kind} over its limit in {display.count(found['frames_over'], 'frame')}")
        for camera, faults in known.get("camera_faults", {}).items():
            parts.append(f"camera {camera} {', '.join(faults)}")
        parts += known.get("limits_ignored", [])
        return display.clipped(", ".join(parts) or None)

    @admin.display(description="pages")
    def pages(self, session):
        replay = display.link(reverse("session-replay", args=[session.pk], query=session.list_query), "replay")
        live = display.link(reverse("robot-live", args=[session.robot_id]), "live") if session.is_live else ""
        return format_html("{} {}", replay, live)

    @admin.display(description="meta_info")
    def meta(self, session):
        return display.data(session.meta_info)

    def updated(self, session):
        return display.moment(session.updated_at)

    @admin.display(description="in the trash since")
    def trashed(self, session):
        return display.moment(session.trashed_at)
