"""A migration's columns that the database computes from other columns."""

from django.db import migrations, models


class AddGeneratedFields(migrations.SeparateDatabaseAndState):
    """Add generated fields to one model at once: each statement that adds one writes the whole table again.

    SQLite cannot add a stored column at all, so Django's AddField fails there for a field that may be NULL.
    """

    def __init__(self, model_name: str, fields: dict[str, models.GeneratedField]):
        self.model_name, self.fields = model_name, fields
        adding = [migrations.AddField(model_name, name, field) for name, field in fields.items()]
        super().__init__(state_operations=adding)

    def deconstruct(self):
        return type(self).__name__, [self.model_name, self.fields], {}

    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        model = to_state.apps.get_model(app_label, self.model_name)
        if not self.allow_migrate_model(schema_editor.connection.alias, model):
            return
        if schema_editor.connection.vendor == "sqlite":
            schema_editor._remake_table(model)
            return
        columns = []
        for name in self.fields:
            field = model._meta.get_field(name)
            definition, _ = schema_editor.column_sql(model, field)  # its SQL has no parameters
            columns.append(f"ADD COLUMN {schema_editor.quote_name(field.column)} {definition}")
        schema_editor.execute(f"ALTER TABLE {schema_editor.quote_name(model._meta.db_table)} {', '.join(columns)}")

    def database_backwards(self, app_label, schema_editor, from_state, to_state):
        model = from_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            for name in self.fields:
                schema_editor.remove_field(model, model._meta.get_field(name))
