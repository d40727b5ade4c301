"""A new start of work that has failed, as staff ask for it."""

from django.db import transaction

from robots import audit
from teleop.background.models import Job
from teleop.background.process import work_is_due


def restart(job: Job, actor: audit.Actor) -> bool:
    """Let the job be done again, with an entry in the audit log; return False if it has not failed."""
    with transaction.atomic():
        if not job.restart():
            return False
        audit.record(actor, audit.Action.CHANGED, [job], {"attempts": [job.attempts, 0], "error": [job.error, ""]})
    work_is_due()
    return True
