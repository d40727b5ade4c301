import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
from django.core.cache import cache
from django.core.management.base import CommandError
from django.db import InterfaceError, OperationalError

from robots.management.base import FormatCheckedCommand
from teleop.frames.fields import TooManyColumns
from teleop.models import TeleopSession
from teleop.quality.motion import read_motion
from teleop.quality.scores import duration_ratio, quality

CLAIMED_S = 600  # longer than a million frames take; after that the claim of a killed process blocks no other
MEMORY_BYTES = 512 * 2**20  # a million frames of 16 joints take 300 MB
CPU_S, CPU_S_A_FRAME = 20, 20e-6  # frames take 6 us each
KILL_AFTER_S = 10  # if code in C does not return to Python


class TooSlow(Exception):
    """An error: the session took more processor time than one session may take."""


class Command(FormatCheckedCommand):
    help = "Computes the quality of ended sessions that have none, newest first. `serve` runs it automatically."
    requires_system_checks = []

    def add_arguments(self, parser):
        parser.add_argument("--session", type=int, nargs="+", metavar="ID", help="these, even if they have a quality")
        parser.add_argument("--limited", action="store_true", help="limit memory and processor time")
        parser.add_argument("--give-up", metavar="REASON", help="compute nothing; store REASON for --session")

    def handle(self, *args, session, limited, give_up, **options):
        if give_up:
            for killed in TeleopSession.objects.quality_due().filter(pk__in=session or []):
                self.store_error(killed, give_up)
            return
        if limited:
            limit_memory()
        ended = TeleopSession.objects.filter(end_time__isnull=False)
        due = ended.filter(pk__in=session) if session else ended.quality_due()
        failed = 0
        for session_id in list(due.values_list("pk", flat=True)):
            claim = f"quality-{session_id}"
            if not cache.add(claim, True, CLAIMED_S):
                continue  # another worker's process computes it
            try:
                self.compute_or_store_error(due.filter(pk=session_id).first(), limited)
            except Exception as error:  # the session stays due, and must not stop the others
                failed += 1
                self.stderr.write(f"session {session_id}: {type(error).__name__}: {error}")
            finally:
                cache.delete(claim)
        if failed:
            raise CommandError(f"the quality of {failed} sessions could not be computed")

    def compute_or_store_error(self, session: TeleopSession | None, limited: bool) -> None:
        if session is None:  # another process has computed it since, or it is recorded again
            return
        if limited:  # the parent process reads this: if this process is killed, this session was the cause
            self.stdout.write(f"session {session.pk} begins")
            self.stdout.flush()
        try:
            with limited_time(CPU_S + CPU_S_A_FRAME * session.frame_count if limited else 0):
                self.compute(session)
        except (OperationalError, InterfaceError):
            raise  # the database's fault, not the session's
        except Exception as error:
            self.store_error(session, reason_of(error))

    def compute(self, session: TeleopSession) -> None:
        motion = read_motion(session)
        found = quality(motion, session.fps, self.others_s(session))
        ends = (motion.timestamps.min(), motion.timestamps.max()) if len(motion.timestamps) else None
        if session.keep_quality(found, ends):
            self.stdout.write(f"session {session.pk}: {session.frame_count} frames")

    def store_error(self, session: TeleopSession, reason: str) -> None:
        """Store the reason, so that the session is not due again, and the values that are known without its frames."""
        known = {
            **dict.fromkeys(("idle_share", "jerk", "fps_jitter")),
            "missing_frames": session.missing_frames,
            "duration_s": session.duration_s if session.frame_count else None,
            "duration_ratio": duration_ratio(session.duration_s, self.others_s(session)),
            "clock_steps": session.clock_steps or [],
            "error": reason,
        }
        if session.keep_quality(known):
            self.stderr.write(f"session {session.pk} has no quality: {reason}")

    def others_s(self, session: TeleopSession) -> list[float]:
        task = (session.meta_info or {}).get("task")
        return TeleopSession.objects.exclude(pk=session.pk).durations_s(task) if task else []


def reason_of(error: Exception) -> str:
    match error:
        case TooManyColumns():
            return f"the frames have {error.count} numbers of different names; at most {error.most} expected"
        case MemoryError():
            return f"the computation takes more than {MEMORY_BYTES >> 20} MB of memory"
        case TooSlow():
            return str(error)
    return f"{type(error).__name__}: {error}"


def limit_memory() -> None:
    """Limit this process permanently. RLIMIT_AS would count memory that threads and libraries reserve but never use."""
    pa.set_memory_pool(pa.system_memory_pool())  # Arrow's own pool reserves 1 GB, which counts
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@contextmanager
def limited_time(seconds: float) -> Iterator[None]:
    """Raise TooSlow in the block after `seconds` of processor time; 0 means no limit.

    Waiting for the database takes no processor time. If code in C does not return, SIGXCPU ends the process.
    """
    if not seconds:
        yield
        return

    def stop(*_) -> None:
        raise TooSlow(f"the computation takes more than {seconds:.0f} s of processor time")

    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime + seconds + KILL_AFTER_S)
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
        resource.setrlimit(resource.RLIMIT_CPU, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
