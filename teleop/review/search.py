"""Find sessions by parts of the words in their labels, and of the robot's id and name."""

from django.db import connections
from django.db.models import BooleanField, Q
from django.db.models.expressions import RawSQL

from robots.models import Robot

MAX_WORDS = 10
SQL_OF_TAGS = {
    "postgresql": "EXISTS (SELECT 1 FROM jsonb_array_elements_text(label_tags) AS tag WHERE tag ILIKE %s)",
    "sqlite": "EXISTS (SELECT 1 FROM json_each(label_tags) WHERE type = 'text' AND value LIKE %s ESCAPE '\\')",
}


def search(sessions, text: str):
    """Select the sessions in which each of these words is a part of the task, a tag, the operator, the note or robot.

    Upper and lower case are the same; on SQLite only those of the letters A to Z.
    """
    for word in text.split()[:MAX_WORDS]:
        robots = Robot.objects.filter(Q(id__icontains=word) | Q(name__icontains=word))
        sessions = sessions.filter(
            Q(label_task__icontains=word)
            | Q(label_operator__icontains=word)
            | Q(meta_info__note__icontains=word)
            | Q(robot__in=robots.values("pk"))
            | Q(_has_tag_with(word, sessions.db))
        )
    return sessions


def _has_tag_with(word: str, database: str) -> RawSQL:
    connection = connections[database]
    pattern = f"%{connection.ops.prep_for_like_query(word)}%"
    sql = SQL_OF_TAGS[connection.vendor]
    return RawSQL(sql, [pattern], BooleanField())  # nosec B611 # the word is a parameter
