"""Do the background work that is due, one job at a time."""

import logging
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import Error as DatabaseFailure
from django.db import connections

from teleop.background.isolation import Failure, run_isolated
from teleop.background.kinds import KINDS, Kind
from teleop.background.models import LEASE, LOST, Job, JobQuerySet

logger = logging.getLogger(__name__)

POLL_S = 2


class Stopped(BaseException):
    """A signal asked this process to stop."""


class Worker:
    """Takes the next job of any server, by priority, until a signal stops it."""

    def __init__(self) -> None:
        self._holder = f"{socket.gethostname()}:{os.getpid()}"[:100]
        self._blocked: set[str] = set()  # names of kinds, as the log says

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
            has_more = Job.objects.filter(kind__in=KINDS).unsettled().exists()
        except DatabaseFailure as error:
            logger.warning("background work waits for the database: %s", error)
            connections.close_all()
            has_more = True
        if has_more:
            time.sleep(POLL_S)
        return has_more

    def do_next(self) -> bool:
        """Do the most urgent job; return False if there is none."""
        for job in Job.objects.lost():
            self._fail(job, Job.objects.lost().filter(pk=job.pk), Failure(LOST))
        for kind in KINDS.values():
            if self._is_blocked(kind):
                continue
            if claimed := self._claim(kind):
                self._do(kind, *claimed)
                return True
        return False

    def _is_blocked(self, kind: Kind) -> bool:
        reason = kind.blocked()
        if (reason is None) == (kind.name in self._blocked):
            self._blocked ^= {kind.name}
            logger.warning("work of the kind %s: %s", kind.name, reason or "goes on")
        return reason is not None

    def _claim(self, kind: Kind) -> tuple[Job, Any] | None:
        jobs = Job.objects.filter(kind=kind.name)
        for object_id in jobs.to_retry().values_list("object_id", flat=True):
            target = kind.model._base_manager.filter(pk=object_id).first()
            if target is None:
                jobs.filter(object_id=object_id).delete()
            elif job := Job.objects.claim(kind.name, object_id, self._holder):
                return job, target
        for target in kind.due().exclude(pk__in=jobs.unsettled().values("object_id"))[:3]:
            if job := Job.objects.claim(kind.name, target.pk, self._holder):
                return job, target
        return None

    def _do(self, kind: Kind, job: Job, target: Any) -> None:
        try:
            failure = run_isolated(kind, target, job.renew)
        except Stopped:
            connections.close_all()  # the signal may have interrupted a query
            job.give_back()
            raise
        if failure is None:
            job.done()
        elif failure.is_postponed:
            logger.warning("%s of %d has to wait: %s", job.kind, job.object_id, failure.reason)
            job.give_back(failure.reason, LEASE)
        else:
            self._fail(job, job.held(), failure)

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

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        yield
    except Stopped:
        logger.info("background work stops, as a signal asked for it")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
