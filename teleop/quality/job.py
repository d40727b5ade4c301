"""The quality of one session as background work."""

from django.db.models import QuerySet

from teleop.background.kinds import Kind, Report, Unusable
from teleop.models import TeleopSession

MEMORY_BYTES = 512 * 2**20  # a million frames of 16 joints take 300 MB
CPU_S, CPU_S_A_FRAME = 20, 20e-6  # frames take 6 us each


def due() -> QuerySet[TeleopSession]:
    return TeleopSession.objects.quality_due()


def compute(session: TeleopSession, report: Report = lambda progress: None) -> None:
    """Compute the quality from the frames and save it, unless the session was resumed meanwhile."""
    # Here, because NumPy and Arrow are 60 MB that only this needs.
    import pyarrow as pa

    from teleop.frames.fields import TooManyColumns
    from teleop.quality.camera_faults import camera_faults
    from teleop.quality.motion import read_motion
    from teleop.quality.scores import quality, steady_times
    from teleop.quality.sparkline import sparkline

    pa.set_memory_pool(pa.system_memory_pool())  # Arrow's own pool reserves 1 GB, which counts as used
    try:
        motion = read_motion(session)
    except TooManyColumns as error:
        expected = f"at most {error.most} expected"
        raise Unusable(f"the frames have {error.count} numbers of different names; {expected}") from None
    ends = (motion.timestamps.min(), motion.timestamps.max()) if len(motion.timestamps) else None
    scores = quality(motion, session.fps, _others_s(session), session.skipped_frames)
    faults = camera_faults(session)
    line = sparkline(steady_times(motion, session.fps)[0], motion.positions)
    session.keep_quality(scores | ({"camera_faults": faults} if faults else {}), ends, line)


def give_up(session: TeleopSession, reason: str) -> None:
    """Store the reason, and the values that are known without the frames."""
    from teleop.quality.scores import duration_ratio

    known = {
        **dict.fromkeys(("idle_share", "jerk", "fps_jitter")),
        "missing_frames": session.missing_frames,
        "duration_s": session.duration_s if session.frame_count else None,
        "duration_ratio": duration_ratio(session.duration_s, _others_s(session)),
        "clock_steps": session.clock_steps or [],
        "error": reason,
    }
    if not session.is_live:
        session.keep_quality(known)


def _others_s(session: TeleopSession) -> list[float]:
    task = (session.meta_info or {}).get("task")
    return TeleopSession.objects.exclude(pk=session.pk).durations_s(task) if task else []


QUALITY = Kind(
    "quality", due, compute, give_up, MEMORY_BYTES, lambda session: CPU_S + CPU_S_A_FRAME * session.frame_count
)
