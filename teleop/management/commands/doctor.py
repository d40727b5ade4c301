import sys

from robots.management.base import FormatCheckedCommand
from teleop.monitoring.checks import Verdict, examine


class Command(FormatCheckedCommand):
    help = "Checks this installation and prints advice for each problem. The exit code is 1 if a check failed."
    requires_system_checks = []
    needs_database = False  # a missing database is a finding, and the other checks still run

    def handle(self, *args, **options):
        styles = {
            Verdict.OK: self.style.SUCCESS,
            Verdict.WARNING: self.style.WARNING,
            Verdict.FAILED: self.style.ERROR,
        }
        verdicts = set()
        for name, (verdict, what, advice, check_id) in examine():
            verdicts.add(verdict)
            rest = f"{f' -> {advice}' if advice else ''}{f' ({check_id})' if check_id else ''}"
            self.stdout.write(f"{styles[verdict](f'{verdict:<8}')} {name:<14} {what}{rest}")
        sys.exit(Verdict.FAILED in verdicts)
