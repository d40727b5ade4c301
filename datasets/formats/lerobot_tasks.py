"""The tasks of a v3.0 dataset: meta/tasks.parquet, as pandas writes a table whose index is the task."""

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def write_tasks(path: Path, tasks: Sequence[str]) -> None:
    """Write the tasks, in the order of their indexes."""
    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), "task": pa.array(tasks, pa.string())})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata({"pandas": json.dumps(PANDAS)}), path, compression="snappy")


def _column(name: str, kind: str, numpy_type: str) -> dict:
    return {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": numpy_type, "metadata": None}


# Without this a reader takes the tasks' numbers for the tasks. The versions do not follow those installed here: the
# same manifest gives the same bytes.
PANDAS = {
    "index_columns": ["task"],
    "column_indexes": [
        {
            "name": None,
            "field_name": None,
            "pandas_type": "unicode",
            "numpy_type": "object",
            "metadata": {"encoding": "UTF-8"},
        }
    ],
    "columns": [_column("task_index", "int64", "int64"), _column("task", "unicode", "object")],
    "attributes": {},
    "creator": {"library": "pyarrow", "version": "26.0.1"},
    "pandas_version": "2.3.3",
}
