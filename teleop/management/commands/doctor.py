import sys

from robots.management.base import FormatCheckedCommand
from teleop.monitoring.checks import Verdict, examine


class Command(FormatCheckedCommand):
    help = (
        "Says whether this installation is sound, and what to do about what is not; exits with 1 if something failed."
    )
    requires_system_checks = []
    needs_database = False  # a missing database is a finding, and the other checks still run

    def handle(self, *args, **options):
        styles = {
            Verdict.OK: self.style.SUCCESS,
            Verdict.WARNING: self.style.WARNING,
            Verdict.FAILED: self.style.ERROR,
        }
        verdicts = set()
        for name, (verdict, what, advice) in examine():
            verdicts.add(verdict)
            self.stdout.write(
                f"{styles[verdict](f'{verdict:<8}')} {name:<14} {what}{f' -> {advice}' if advice else ''}"
            )
        sys.exit(Verdict.FAILED in verdicts)
