"""Queries that Django compiles to SQL once. Compiling takes as long as the query itself: 0.1 to 0.3 ms a request."""

from collections import namedtuple
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import Func, IntegerField, Model, QuerySet, Subquery
from django.db.models.base import ModelState
from django.db.models.sql.compiler import SQLCompiler


class Plan(NamedTuple):
    """A compiled query, and what turns a row of its result into a model instance."""

    compiler: SQLCompiler
    sql: str
    parameters: tuple
    converters: dict
    names: list[str]  # of the fields and annotations, in the order of the row


class StoredState(ModelState):
    """The state of an instance that was read: the values of the class, so that none has to be set."""

    db = DEFAULT_DB_ALIAS
    adding = False


class CompiledQuery:
    """A query of model instances, maybe with annotations and without select_related, whose SQL stays the same.

    The rows are read anew each time.
    """

    def __init__(self, queryset: QuerySet):
        self._queryset = queryset

    @cached_property
    def _plan(self) -> Plan:
        compiler = self._queryset.query.get_compiler(DEFAULT_DB_ALIAS)
        sql, parameters = compiler.as_sql()
        columns = [column[0] for column in compiler.select]
        fields = columns[: len(columns) - len(compiler.annotation_col_map)]
        return Plan(
            compiler,
            sql,
            parameters,
            compiler.get_converters(columns),
            [*(column.target.attname for column in fields), *compiler.annotation_col_map],
        )

    def fetch(self, parameters: tuple | None = None, limit: int | None = None, offset: int = 0) -> list[Model]:
        """Return the rows. `parameters` replace the values in the queryset's filters, in the order of the SQL."""
        plan, database = self._plan, connections[DEFAULT_DB_ALIAS]
        until = None if limit is None else offset + limit
        with database.cursor() as cursor:
            sql = f"{plan.sql} {database.ops.limit_offset_sql(offset, until)}"
            cursor.execute(sql, plan.parameters if parameters is None else parameters)
            rows = cursor.fetchall()
        if plan.converters:
            rows = plan.compiler.apply_converters(rows, plan.converters)
        return [self._instance(plan.names, row) for row in rows]

    def _instance(self, names: list[str], row: Sequence) -> Model:
        """Return the same as Model.from_db(), whose signals and setters take 1.5 us; no field may have a descriptor."""
        instance = self._queryset.model.__new__(self._queryset.model)
        instance.__dict__ = dict(zip(names, row, strict=True))
        instance._state = StoredState()
        return instance


class CompiledList(CompiledQuery):
    """All rows of a list. Each row has the number of all rows as `total`, which saves a second query."""

    def __init__(self, queryset: QuerySet):
        count = queryset.order_by().annotate(total=Func(template="COUNT(*)", output_field=IntegerField()))
        count = count.values("total")
        super().__init__(queryset.annotate(total=Subquery(count)))
        self._all = queryset

    def queryset(self) -> QuerySet:
        """Return the list as a queryset, with this query as `compiled`. A queryset that is made of it has none."""
        queryset = self._all.all()
        queryset.compiled = self
        return queryset


class CompiledRows(CompiledList):
    """A list whose rows are named tuples of the columns: to make an instance of the model takes five times as long."""

    @cached_property
    def _row(self) -> type[tuple]:
        return namedtuple("Row", self._plan.names)

    def _instance(self, names: list[str], row: Sequence) -> tuple:
        return self._row._make(row)
