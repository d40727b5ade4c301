"""Do the background work that is due, one job at a time."""

import logging
import os
import signal
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import takewhile
from typing import Any

from django.db import Error as DatabaseFailure
from django.db import connections

from teleop.background.isolation import STOP_SIGNALS, Failure, run_isolated
from teleop.background.kinds import KINDS, Kind
from teleop.background.models import LEASE, LOST, Job, JobQuerySet

logger = logging.getLogger(__name__)

POLL_S = 2


class Stopped(BaseException):
    """A signal asked this process to stop."""


class Worker:
    """Takes the next job of any server until a signal stops it: the kinds take turns, so that none waits for ever.

    While a job runs, work of more urgent kinds is done every 10 s: a proxy or an export may take hours.
    """

    def __init__(self) -> None:
        self._holder = f"{socket.gethostname()[:80]}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._held: list[Job] = []  # the jobs under way, the most urgent last
        self._blocked: set[str] = set()  # names of kinds, as the log says
        self._last = ""  # the kind of the last job

    def run(self, until_idle_s: float | None) -> None:
        """Work until nothing was left to do for `until_idle_s`; None means until a signal."""
        with stopped_by_signals():
            idle_since = None
            while True:
                is_idle = not self._try_next()
                idle_since = (idle_since or time.monotonic()) if is_idle else None
                if idle_since and until_idle_s is not None and time.monotonic() - idle_since >= until_idle_s:
                    return
                if is_idle:
                    time.sleep(POLL_S)

    def _try_next(self) -> bool:
        """Return whether there is work: done now, or to be tried again, or with another process."""
        try:
            if self.do_next():
                return True
            self._forget_deleted()
            has_more = Job.objects.filter(kind__in=KINDS).unsettled().exists()
        except DatabaseFailure as error:
            logger.warning("background work waits for the database: %s", error)
            connections.close_all()
            has_more = False  # without the server that started it, and its database, this process ends when it is idle
        if has_more:
            time.sleep(POLL_S)
        return has_more

    def _forget_deleted(self) -> None:
        """Delete failed jobs of objects that were deleted."""
        for kind in KINDS.values():
            failed = Job.objects.failed().filter(kind=kind.name)
            failed.exclude(object_id__in=kind.model._base_manager.values("pk")).delete()

    def do_next(self, before: str | None = None) -> bool:
        """Do the next job, or the most urgent one of the kinds before the named one; return False if there is none."""
        for job in Job.objects.filter(kind__in=KINDS).lost():
            self._fail(job, Job.objects.lost().filter(pk=job.pk), Failure(LOST))
        for kind in self._in_turn() if before is None else takewhile(lambda each: each.name != before, KINDS.values()):
            if not self._is_blocked(kind) and (claimed := self._claim(kind)):
                if before is None:
                    self._last = kind.name
                self._do(kind, *claimed)
                return True
        return False

    def _in_turn(self) -> list[Kind]:
        """Return all kinds, those after the kind of the last job first."""
        kinds, names = list(KINDS.values()), list(KINDS)
        first = names.index(self._last) + 1 if self._last in names else 0
        return kinds[first:] + kinds[:first]

    def _is_blocked(self, kind: Kind) -> bool:
        reason = kind.blocked()
        if (reason is None) == (kind.name in self._blocked):
            self._blocked ^= {kind.name}
            logger.warning("work of the kind %s: %s", kind.name, reason or "goes on")
        return reason is not None

    def _claim(self, kind: Kind) -> tuple[Job, Any] | None:
        jobs = Job.objects.filter(kind=kind.name)
        for object_id, attempts in jobs.to_retry().values_list("object_id", "attempts"):
            # A job that staff have restarted runs even if its object is not due. Another attempt runs only if it is.
            candidates = kind.due() if attempts else kind.model._base_manager
            target = candidates.filter(pk=object_id).first()
            if target is None:
                jobs.to_retry().filter(object_id=object_id).order_by().delete()
            elif job := Job.objects.claim(kind.name, object_id, self._holder):
                return job, target
        for target in kind.due().exclude(pk__in=jobs.unsettled().values("object_id"))[:3]:
            if job := Job.objects.claim(kind.name, target.pk, self._holder):
                return job, target
        return None

    def _do(self, kind: Kind, job: Job, target: Any) -> None:
        self._held.append(job)
        try:
            failure = run_isolated(kind, target, lambda progress: self._renew(kind, job, progress))
        except Stopped:
            connections.close_all()  # the signal may have interrupted a query
            job.give_back()
            raise
        except DatabaseFailure:
            raise
        except Exception as error:  # one row must not end the worker
            logger.exception("%s of %d", job.kind, job.object_id)
            failure = Failure(f"{type(error).__name__}: {error}")
        finally:
            self._held.remove(job)
        if failure is None:
            self._persist(job.done)
        elif failure.is_postponed:
            logger.warning("%s of %d has to wait: %s", job.kind, job.object_id, failure.reason)
            self._persist(lambda: job.give_back(failure.reason, LEASE))
        else:
            self._persist(lambda: self._fail(job, job.held(), failure))

    def _renew(self, kind: Kind, job: Job, progress: float | None) -> bool:
        """Renew all leases, then do more urgent work; return False if another process has this job."""
        try:
            if not job.renew(progress):
                return False
            for other in self._held[:-1]:  # less urgent ones, which wait for this one
                other.renew(other.progress)
            self.do_next(before=kind.name)
        except DatabaseFailure as error:  # the next renewal finds out whether the lease was lost
            logger.warning("could not renew the lease on %s of %d: %s", job.kind, job.object_id, error)
            connections.close_all()
        return True

    def _persist(self, save: Callable[[], object]) -> None:
        """Save how a job ended; if the database is away, again until the lease has ended."""
        ends_at = time.monotonic() + LEASE.total_seconds()
        while True:
            try:
                save()
                return
            except DatabaseFailure:
                connections.close_all()
                if time.monotonic() > ends_at:
                    raise
                time.sleep(POLL_S)

    def _fail(self, job: Job, held: JobQuerySet, failure: Failure) -> None:
        reason = failure.reason
        logger.warning("%s of %d failed (attempt %d): %s", job.kind, job.object_id, job.attempts, reason)
        is_last = held.fail(reason, job.attempts, failure.is_final)
        if is_last and (kind := KINDS.get(job.kind)):
            for target in kind.model._base_manager.filter(pk=job.object_id):
                kind.give_up(target, reason)


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    def stop(*_) -> None:
        raise Stopped

    before = {number: signal.signal(number, stop) for number in STOP_SIGNALS}
    try:
        yield
    except Stopped:
        logger.info("background work stops, as a signal asked for it")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
