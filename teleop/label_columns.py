"""Expressions of the columns that the database computes from meta_info, so that they can never differ from it."""

from django.db import models
from django.db.models import Func

MAX_LABEL = 500  # characters; an entry of an index has room for 2,700 bytes on PostgreSQL


class LabelText(Func):
    """The text of one key of meta_info, cut after 500 characters; NULL if it is missing, empty, or not a text.

    Migrations refer to this class and to the next two: a change of their SQL needs a new class and a new migration.
    """

    output_field = models.CharField()
    template = (
        "CASE WHEN jsonb_typeof(%(expressions)s -> '%(key)s') = 'string' "
        f"THEN NULLIF(left(%(expressions)s ->> '%(key)s', {MAX_LABEL}), '') END"
    )
    template_sqlite = (
        "CASE WHEN json_type(%(expressions)s, '$.%(key)s') = 'text' "
        f"THEN NULLIF(substr(json_extract(%(expressions)s, '$.%(key)s'), 1, {MAX_LABEL}), '') END"
    )

    def __init__(self, key: str):
        super().__init__("meta_info", key=key)  # a constant: it is part of the statement

    def as_sqlite(self, compiler, connection, **extra):
        return self.as_sql(compiler, connection, template=self.template_sqlite, **extra)


class LabelBoolean(LabelText):
    """The boolean of one key of meta_info; NULL if it is missing or not a boolean."""

    output_field = models.BooleanField()
    template = (
        "CASE WHEN jsonb_typeof(%(expressions)s -> '%(key)s') = 'boolean' "
        "THEN (%(expressions)s -> '%(key)s')::boolean END"
    )
    template_sqlite = "CASE json_type(%(expressions)s, '$.%(key)s') WHEN 'true' THEN 1 WHEN 'false' THEN 0 END"


class LabelList(LabelText):
    """The list of one key of meta_info, as JSON; NULL if it is missing or not a list."""

    output_field = models.JSONField()
    template = "CASE WHEN jsonb_typeof(%(expressions)s -> '%(key)s') = 'array' THEN %(expressions)s -> '%(key)s' END"
    template_sqlite = (
        "CASE json_type(%(expressions)s, '$.%(key)s') WHEN 'array' THEN json_extract(%(expressions)s, '$.%(key)s') END"
    )
