import os

from robots.management.base import FormatCheckedCommand
from teleop.background.worker import Worker
from teleop.ingest.transactions import use_dedicated_connection


class Command(FormatCheckedCommand):
    help = """Does background work: quality, webhooks, the trash, posters, proxies and exports.

    `serve` runs it when there is work (BACKGROUND_WORK)."""
    requires_system_checks = []

    def add_arguments(self, parser):
        parser.add_argument(
            "--until-idle",
            type=float,
            nargs="?",
            const=0,
            metavar="SECONDS",
            help="exit when there was nothing to do for this time (0 without a number); default: run until a signal",
        )

    def handle(self, *args, until_idle, **options):
        os.setpriority(os.PRIO_PROCESS, 0, 19)  # only spare processor time
        # One thread for NumPy's algebra, which is not used: each further thread would cost 20 ms and a stack.
        os.environ["OPENBLAS_NUM_THREADS"] = "1"
        use_dedicated_connection()  # a fork with the threads of a pool is not safe
        Worker().run(until_idle)
