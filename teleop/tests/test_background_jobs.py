"""Leases on background work: one process does one job, a killed one is done again, and a failed one stops."""

import faulthandler
import os
import signal
import threading
import time
from datetime import timedelta

import pytest
from django.db import OperationalError

from robots import audit
from robots.models import AuditEntry
from teleop.background import isolation, worker
from teleop.background.kinds import KINDS, Kind, Postponed, Unusable
from teleop.background.models import LOST, MAX_ATTEMPTS, Job
from teleop.background.restart import restart
from teleop.background.worker import Worker
from teleop.models import TeleopSession
from teleop.tests.recordings import make_session

pytestmark = pytest.mark.django_db(transaction=True)

DUE, DONE, GIVEN_UP = 60, 30, 15

# The signal that this process gets in the function which Python calls in it after a fork.
at_fork: dict[str, signal.Signals] = {}
os.register_at_fork(after_in_parent=lambda: at_fork and signal.raise_signal(at_fork["signal"]))


def nothing(session, report):
    """Do nothing before the result is stored."""


@pytest.fixture
def work():
    """Yield a function that registers a kind of work in place of all others: it sets `fps` of a session to DONE."""
    registered = KINDS.copy()
    KINDS.clear()

    def add(does=nothing, name="halve", memory_bytes=2**30, cpu_s=20.0, blocked=lambda: None):
        def run(session, report):
            does(session, report)
            TeleopSession.objects.filter(pk=session.pk).update(fps=DONE)

        def give_up(session, reason):
            TeleopSession.objects.filter(pk=session.pk).update(fps=GIVEN_UP, meta_info={"reason": reason})

        due = TeleopSession.objects.filter(fps=DUE).order_by("pk")
        kind = Kind(name, due.all, run, give_up, memory_bytes, lambda session: cpu_s, blocked)
        KINDS[name] = kind

    yield add
    KINDS.clear()
    KINDS.update(registered)  # in their order


@pytest.fixture
def session() -> TeleopSession:
    return make_session()


def state_of(session: TeleopSession) -> int:
    session.refresh_from_db()
    return session.fps


def pass_a_lease() -> None:
    for job in Job.objects.all():
        Job.objects.filter(pk=job.pk).update(free_at=job.free_at - timedelta(minutes=5))


def raises(error: Exception):
    def does(session, report):
        raise error

    return does


def test_it_does_due_work_and_deletes_the_job(work, session):
    work()
    assert Worker().do_next()
    assert state_of(session) == DONE
    assert not Job.objects.exists()
    assert not Worker().do_next()


def test_it_does_kinds_in_their_order(work, session):
    work(raises(Unusable("first")), name="first")
    work(raises(Unusable("second")), name="second")
    Worker().do_next()
    assert Job.objects.get().kind == "first"


def test_it_does_not_take_a_job_that_another_process_has(work, session):
    work()
    job = Job.objects.claim("halve", session.pk, "other:1")
    assert not Worker().do_next()
    assert job.renew(0.5)
    assert (state_of(session), Job.objects.get().progress) == (DUE, 0.5)


def test_two_processes_never_get_the_same_lease(work, session):
    claims = [Job.objects.claim("halve", session.pk, f"host:{number}") for number in range(3)]
    assert [claim is not None for claim in claims] == [True, False, False]


def test_a_lease_that_was_not_renewed_ends(work, session):
    work()
    lost = Job.objects.claim("halve", session.pk, "other:1")
    pass_a_lease()
    assert not Worker().do_next()  # the attempt counts, and the next one waits
    job = Job.objects.get()
    assert (job.state, job.error, job.attempts) == ("waiting", LOST, 1)
    assert not lost.renew(0.5)
    pass_a_lease()
    assert Worker().do_next()
    assert state_of(session) == DONE


def test_a_process_that_wakes_up_late_does_not_end_the_job_of_another(work, session):
    late = Job.objects.claim("halve", session.pk, "other:1")
    pass_a_lease()
    Job.objects.lost().fail(LOST, 1)
    pass_a_lease()
    assert Job.objects.claim("halve", session.pk, "other:2")
    late.done()
    late.give_back()
    late.held().fail("late", 1)
    assert (Job.objects.get().holder, Job.objects.get().attempts) == ("other:2", 2)


def test_it_gives_up_after_three_attempts_and_shows_the_reason(work, session):
    work(raises(ValueError("no such number")))
    for attempt in range(1, MAX_ATTEMPTS + 1):
        assert state_of(session) == DUE
        assert Worker().do_next()
        assert Job.objects.get().attempts == attempt
        pass_a_lease()
    assert not Worker().do_next()
    job = Job.objects.get()
    assert (job.state, job.error) == ("failed", "ValueError: no such number")
    assert state_of(session) == GIVEN_UP
    assert session.meta_info == {"reason": "ValueError: no such number"}


def test_it_waits_before_the_next_attempt(work, session):
    work(raises(OperationalError("the server is starting")))
    assert Worker().do_next()
    assert not Worker().do_next()
    assert Job.objects.get().error == "the database failed: the server is starting"


@pytest.mark.once
@pytest.mark.parametrize(
    "does, limits, reason",
    [
        (raises(Unusable("it has no pictures")), {}, "it has no pictures"),
        (lambda session, report: bytearray(2**30), {"memory_bytes": 2**29}, "it takes more than 512 MB of memory"),
        (lambda session, report: any(iter(int, 1)), {"cpu_s": 0.1}, "it takes more than 0 s of processor"),
    ],
    ids=["unusable", "memory", "processor time"],
)
def test_it_gives_up_at_once_if_the_next_attempt_would_end_like_this_one(work, session, does, limits, reason):
    work(does, **limits)
    assert Worker().do_next()
    assert state_of(session) == GIVEN_UP
    assert Job.objects.get().error.startswith(reason)


def test_a_postponed_job_waits_and_costs_no_attempt(work, session):
    work(raises(Postponed("the disk is full")))
    for _ in range(MAX_ATTEMPTS + 1):
        assert Worker().do_next()
        assert not Worker().do_next()
        pass_a_lease()
    job = Job.objects.get()
    assert (job.state, job.attempts, job.error) == ("waiting", 0, "the disk is full")


def test_a_blocked_kind_begins_no_job_and_says_why_once(work, session, caplog):
    reasons = ["the disk is full", "the disk is full", None]
    work(blocked=lambda: reasons.pop(0))
    worker = Worker()
    assert [worker.do_next() for _ in range(3)] == [False, False, True]
    assert [record.getMessage() for record in caplog.records] == [
        "work of the kind halve: the disk is full",
        "work of the kind halve: goes on",
    ]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_crash_costs_one_attempt(work, session, number):
    parent = os.getpid()

    def crash(session, report):
        assert os.getpid() != parent
        faulthandler.disable()  # pytest's would print a page
        os.kill(os.getpid(), number)

    work(crash)
    assert Worker().do_next()
    job = Job.objects.get()
    assert (job.state, job.attempts) == ("waiting", 1)
    assert job.error == f"its process was killed by {number.name}"


def test_it_renews_the_lease_and_stores_the_progress(work, session, monkeypatch):
    monkeypatch.setattr(isolation, "RENEW_S", 0)
    seen = []
    renew = Job.renew
    monkeypatch.setattr(Job, "renew", lambda job, progress: seen.append(progress) or renew(job, progress))
    work(lambda session, report: [report(number / 10) for number in range(3)])
    assert Worker().do_next()
    assert {0.0, 0.1, 0.2} <= set(seen)


def test_it_stops_a_job_that_another_process_has_taken(work, session, monkeypatch):
    monkeypatch.setattr(isolation, "RENEW_S", 0)
    monkeypatch.setattr(Job, "renew", lambda job, progress: False)
    work(lambda session, report: threading.Event().wait())
    assert Worker().do_next()
    assert state_of(session) == DUE


def test_a_signal_stops_the_worker_and_costs_no_attempt(work, session, monkeypatch):
    parent = os.getpid()

    def stop(session, report):
        os.kill(parent, signal.SIGTERM)
        threading.Event().wait()

    work(stop)
    Worker().run(until_idle_s=0)
    job = Job.objects.get()
    assert (job.state, job.attempts, state_of(session)) == ("waiting", 0, DUE)
    work()
    assert Worker().do_next()
    assert state_of(session) == DONE


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_while_python_forks_stops_the_worker(work, session, monkeypatch, number):
    monkeypatch.setitem(at_fork, "signal", number)
    work()
    Worker().run(until_idle_s=0)
    job = Job.objects.get()
    assert (job.state, job.attempts, state_of(session)) == ("waiting", 0, DUE)


def test_with_until_idle_it_does_all_due_work_and_all_further_attempts(work, session, monkeypatch):
    make_session(key="other")
    attempts = []

    def first_time(session, report):
        if not Job.objects.get(object_id=session.pk).error:
            raise ValueError("the first time")

    work(first_time)
    monkeypatch.setattr(worker.time, "sleep", lambda seconds: attempts.append(seconds) or pass_a_lease())
    Worker().run(until_idle_s=0)
    assert set(TeleopSession.objects.values_list("fps", flat=True)) == {DONE}
    assert attempts


def test_the_worker_waits_for_the_database(work, session, monkeypatch):
    work()
    outages = [OperationalError("the server closed the connection")]
    do_next = Worker.do_next
    monkeypatch.setattr(Worker, "do_next", lambda self: do_next(self) if not outages else _raise(outages.pop()))
    monkeypatch.setattr(worker, "POLL_S", 0.01)
    Worker().run(until_idle_s=0.1)
    assert state_of(session) == DONE


def test_a_process_without_database_ends(work, session, monkeypatch):
    """Its server was killed, and its database with it."""
    monkeypatch.setattr(Worker, "do_next", lambda self: _raise(OperationalError("connection refused")))
    monkeypatch.setattr(worker, "POLL_S", 0.01)
    Worker().run(until_idle_s=0.1)


def _raise(error: Exception):
    raise error


def test_more_urgent_work_is_done_within_a_long_job(work, session, monkeypatch):
    monkeypatch.setattr(isolation, "RENEW_S", 0.05)
    other = make_session(key="other")
    TeleopSession.objects.filter(pk=other.pk).update(fps=DONE)
    work(name="urgent")
    urgent = KINDS["urgent"]._replace(due=TeleopSession.objects.filter(pk=other.pk, fps=DUE).all)
    KINDS["urgent"] = urgent

    def long(session, report):
        TeleopSession.objects.filter(pk=other.pk).update(fps=DUE)
        while TeleopSession.objects.get(pk=other.pk).fps == DUE:
            time.sleep(0.01)

    work(long, name="slow")
    slow = KINDS["slow"]._replace(due=TeleopSession.objects.filter(pk=session.pk, fps=DUE).all)
    KINDS["slow"] = slow
    assert Worker().do_next()
    assert (state_of(session), state_of(other)) == (DONE, DONE)
    assert not Job.objects.exists()


def test_an_outage_during_a_renewal_does_not_stop_the_job(work, session, monkeypatch):
    monkeypatch.setattr(isolation, "RENEW_S", 0)
    outages = [OperationalError("the server closed the connection")] * 2
    renew = Job.renew
    monkeypatch.setattr(Job, "renew", lambda *args: _raise(outages.pop()) if outages else renew(*args))
    work(lambda session, report: [report(number / 10) for number in range(5)])
    assert Worker().do_next()
    assert state_of(session) == DONE and not outages
    assert not Job.objects.exists()


def test_an_outage_at_the_end_does_not_lose_the_result(work, session, monkeypatch):
    outages = [OperationalError("the server closed the connection")]
    done = Job.done
    monkeypatch.setattr(Job, "done", lambda job: _raise(outages.pop()) if outages else done(job))
    monkeypatch.setattr(worker, "POLL_S", 0)
    work()
    assert Worker().do_next()
    assert not Job.objects.exists()


def test_it_does_not_repeat_work_that_is_already_done(work, session):
    """The process was killed between the result and the end of the lease."""
    work(raises(AssertionError("done twice")))
    Job.objects.claim("halve", session.pk, "other:1")
    TeleopSession.objects.update(fps=DONE)
    pass_a_lease()
    assert not Worker().do_next()
    pass_a_lease()
    assert not Worker().do_next()
    assert not Job.objects.exists()


def test_an_error_in_the_limits_of_one_job_does_not_end_the_worker(work, session):
    work()
    KINDS["halve"] = KINDS["halve"]._replace(cpu_s=lambda session: None + 1)
    assert Worker().do_next()
    assert Job.objects.get().error.startswith("TypeError")


def test_a_worker_is_not_taken_for_another_with_its_process_id():
    assert Worker()._holder != Worker()._holder


def test_failed_jobs_of_deleted_objects_are_deleted(work, session):
    work(raises(Unusable("it has no pictures")))
    assert Worker().do_next()
    session.delete()
    Worker().run(until_idle_s=0)
    assert not Job.objects.exists()


def test_it_forgets_a_job_whose_object_was_deleted(work, session):
    work(raises(ValueError("no")))
    assert Worker().do_next()
    session.delete()
    pass_a_lease()
    assert not Worker().do_next()
    assert not Job.objects.exists()


def test_staff_restart_what_has_failed(work, session):
    work(raises(Unusable("it has no pictures")))
    assert Worker().do_next()
    actor = audit.command("test")
    assert restart(Job.objects.get(), actor)
    assert not restart(Job.objects.get(), actor)  # of two clicks the second finds it waiting
    assert AuditEntry.objects.get().changes == {"attempts": [3, 0], "error": ["it has no pictures", ""]}
    work()
    assert Worker().do_next()
    assert state_of(session) == DONE


def test_an_object_that_is_due_again_is_done_again_although_it_failed(work, session):
    work(raises(Unusable("it has no pictures")))
    assert Worker().do_next()
    TeleopSession.objects.update(fps=DUE)
    work()
    assert Worker().do_next()
    assert state_of(session) == DONE
    assert not Job.objects.exists()


def test_the_kinds_take_turns(work, session):
    """Without turns, a backlog of the first kind would keep all others waiting."""
    done = []
    for key in ("second", "third"):
        make_session(key=key)
    work(name="backlog")
    work(name="export")
    for name in ("backlog", "export"):  # cpu_s is called in this process, and run in a forked one
        KINDS[name] = KINDS[name]._replace(cpu_s=lambda _, name=name: done.append(name) or 20.0)
    worker = Worker()
    assert [worker.do_next() for _ in range(3)] == [True] * 3
    assert done == ["backlog", "export", "backlog"]
