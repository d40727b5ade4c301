"""Delete sessions that have been in the trash for TRASH_DAYS, as background work."""

from datetime import timedelta

from django.conf import settings
from django.db.models import QuerySet
from django.db.models.functions import Now

from robots import audit
from teleop.background.kinds import Kind, Report
from teleop.models import SessionIsLive, TeleopSession

MEMORY_BYTES = 256 * 2**20
CPU_S, CPU_S_A_FRAME = 20, 20e-6  # SQLite, which works in this process, takes 5 us a frame


def expired() -> QuerySet[TeleopSession]:
    """Select the sessions to delete, the oldest first; none if TRASH_DAYS is 0."""
    if not settings.TRASH_DAYS:
        return TeleopSession.objects.none()
    before = Now() - timedelta(days=settings.TRASH_DAYS)
    return TeleopSession.objects.filter(trashed_at__lte=before).order_by("trashed_at", "pk")


def delete(session: TeleopSession, report: Report = lambda progress: None, actor: str = "background") -> bool:
    """Delete the session, unless it was restored or resumed meanwhile."""
    current = expired().filter(pk=session.pk).first()
    if current is None:
        return False
    try:
        current.delete(actor=audit.command(actor))
    except SessionIsLive:
        return False
    return True


def postpone(session: TeleopSession, reason: str) -> None:
    """Leave the session in the trash for another TRASH_DAYS."""
    TeleopSession.objects.in_trash().filter(pk=session.pk).update(trashed_at=Now())


TRASH = Kind(
    "trash", expired, delete, postpone, MEMORY_BYTES, lambda session: CPU_S + CPU_S_A_FRAME * session.frame_count
)
