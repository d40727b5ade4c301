from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.db import transaction

from robots import audit
from robots.management.base import FormatCheckedCommand
from robots.models import ROBOT_ID, Robot


class Command(FormatCheckedCommand):
    help = (
        "Issues a new key for a robot and prints it once; registers the robot if it is new. The old key becomes "
        "invalid, and connections made with it are closed. Standard output contains only the key."
    )

    def add_arguments(self, parser):
        parser.add_argument("robot_id")

    def handle(self, *args, robot_id, **options):
        with transaction.atomic():
            robot, is_new = self._robot(robot_id)
            replaces = bool(robot.key_hash)
            key = robot.issue_key()
            actor = audit.command("robot_key")
            if is_new:
                audit.record(actor, audit.Action.ADDED, [robot])
            audit.record(actor, audit.Action.KEY_ISSUED, [robot])
        if is_new:
            self._say(f"Robot {robot_id} is registered.")
        elif replaces:
            self._say(f"The old key of {robot_id} is no longer valid.")
        self.stdout.write(key)
        self._say(f"The key is shown only once. Send it as `Authorization: Bearer <key>` to /ws/log/{robot_id}.")

    def _say(self, text: str) -> None:
        self.stderr.write(text, style_func=str)  # plain text: Django would print it in red

    def _robot(self, robot_id: str) -> tuple[Robot, bool]:
        try:
            Robot(pk=robot_id).clean_fields()
        except ValidationError:
            raise CommandError(f"robot_id is {robot_id!r}; {ROBOT_ID.pattern} expected") from None
        return Robot.objects.get_or_create(pk=robot_id)
