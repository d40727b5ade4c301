from django.contrib import admin

from robots.admin_tools import display
from robots.admin_tools.read_only import ReadOnlyAdmin
from teleop.admin.changelists import FrameChangeList
from teleop.admin.links import LinkColumns
from teleop.api.filters import FrameFilter
from teleop.frames.data import data_of
from teleop.models import TeleopFrame


@admin.register(TeleopFrame)
class TeleopFrameAdmin(LinkColumns, ReadOnlyAdmin):
    """Read-only admin of frames, as the data that a robot sent is evidence."""

    filterset_class = FrameFilter
    list_display = ["id", "of_session", "of_robot", "frame_index", "at", "data_in_short"]
    fields = ["of_session", "of_robot", "frame_index", "at", "data_in_full"]

    def get_changelist(self, request, **kwargs):
        return FrameChangeList

    @admin.display(description="timestamp")
    def at(self, frame):
        return display.moment(frame.timestamp, "ms")

    @admin.display(description="data")
    def data_in_short(self, frame):
        return display.clipped(data_of(frame))

    @admin.display(description="data")
    def data_in_full(self, frame):
        return display.data(data_of(frame))
