"""Access rules for frames: code that a later storage format has to change stays in two places.

Only teleop/frames reads the `data` of frames, and the verification of exports, which checks it. Queries about their
index, time and number are methods of TeleopFrameQuerySet. The rules are checked in the source; migrations and tests are
exempt.
"""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.apps import apps
from django.conf import settings

from teleop.querysets import TeleopFrameQuerySet

READS_DATA = ("teleop/frames/", "datasets/verification/database.py")
QUERYSETS = "teleop/querysets.py"
# Files with their own SQL on the table of frames.
NAMES_TABLE = {
    QUERYSETS,
    "teleop/frames/data.py",
    "teleop/frames/row_copy.py",
    "teleop/frames/sql.py",
    "datasets/verification/database.py",
    "teleop/ingest/store.py",  # inserts
    "teleop/ingest/isolation.py",  # locks it
    "teleop/monitoring/database.py",  # checks the privileges
    "loadtest/run/databases.py",  # counts the stored frames at the end, without Django
}
METHODS = {name: method for name, method in vars(TeleopFrameQuerySet).items() if inspect.isfunction(method)}
ALSO = {"using", "bulk_create"}  # the alias of a database, and the portable insert
RETURN_A_RESULT = {name for name, method in METHODS.items() if "return" in method.__annotations__} | {"bulk_create"}
MANAGERS = {"objects", "_base_manager", "_default_manager"}

# `.data` of an object other than a stored frame: requests, forms, sockets, a module's function, and the output of
# serializers. In these folders it is a message that a robot has sent.
OTHER_DATA = re.compile(r"(\w+\.)*(request|self|display|response)|.*(get_serializer|Serializer)\(.*\)", re.DOTALL)
MESSAGES = ("teleop/ingest/", "teleop/live/")
# In these folders it is a message or a file of an exported dataset.
DATASETS = ("datasets/formats/", "datasets/verification/")
# `.frames` of an object other than a session.
OTHER_FRAMES = (*MESSAGES, *DATASETS, "loadtest/", "videos/film/")
# The string "data" with a meaning other than the column.
# PostgreSQL's folder, a key of Standard Webhooks, and a dataset's folder.
OTHER_STRINGS = ("loadtest/run/processes.py", "teleop/webhooks/events.py", *DATASETS)
TABLE = re.compile(r"teleop_teleopframe\b")
INSERT = re.compile(r"\s*(INSERT INTO|COPY) teleop_teleopframe\b")


class Access(ast.NodeVisitor):
    """Visitor that collects in `found` the forbidden uses of frames in a file."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.found: list[tuple[str, str]] = []  # the broken rule, and the code
        self._chained: set[ast.AST] = set()  # inner parts of a longer chain of calls

    def report(self, rule: str, node: ast.AST, problem: str) -> None:
        self.found.append((rule, f"{self.path}:{node.lineno}: {problem}"))

    def visit(self, node: ast.AST) -> None:
        """Also reject a manager or queryset under another name: the rule for its methods would miss it."""
        if isinstance(node, ast.Attribute | ast.Subscript):
            self._chained.add(node.value)
        is_set = isinstance(getattr(node, "ctx", None), ast.Store)
        if self._is_frames(node) and node not in self._chained and not is_set:
            self.report("query", node, f"{ast.unparse(node)} is handed on; what a method returns expected")
        super().visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if node.attr == "data" and not self._is_other_data(node.value):
            self.report("data", node, f"{ast.unparse(node)} is read; a function of teleop/frames expected")
        if self._is_frames(node.value) and node.attr not in METHODS.keys() | ALSO:
            self.report("query", node, f"{ast.unparse(node)} is no method of TeleopFrameQuerySet")
        if ast.unparse(node) == "TeleopFrame._meta.db_table" and self.path not in NAMES_TABLE:
            self.report("query", node, "the table of frames is named")
        self.generic_visit(node)

    def visit_alias(self, node: ast.alias) -> None:
        if node.name == "TeleopFrame" and node.asname:
            self.report("query", node, f"TeleopFrame is called {node.asname}")

    def visit_Call(self, node: ast.Call) -> None:
        for keyword in node.keywords:
            self._check_lookup(node, keyword.arg or "")
            if keyword.arg == "data" and getattr(node.func, "attr", "") in ("filter", "exclude", "get", "update"):
                self.report("data", node, "frames are looked up by data")
        # A heading is no lookup.
        node.keywords = [keyword for keyword in node.keywords if keyword.arg != "description"]
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        text = node.value.decode(errors="replace") if isinstance(node.value, bytes) else node.value
        if not isinstance(text, str):
            return
        self._check_lookup(node, text)
        if text == "data" and not self.path.startswith(OTHER_STRINGS):
            self.report("data", node, 'the column "data" is named')
        if text == "TeleopFrame" and self.path != QUERYSETS:
            self.report("query", node, "the model of frames is looked up by its name")
        if TABLE.search(text):
            self._check_sql(node, text)

    def _check_sql(self, node: ast.AST, sql: str) -> None:
        if self.path not in NAMES_TABLE:
            self.report("query", node, "the table of frames is named")
        if re.search(r"\bdata\b", sql) and not INSERT.match(sql):
            self.report("data", node, "data is read by SQL")

    def _check_lookup(self, node: ast.AST, lookup: str) -> None:
        if found := re.fullmatch(r"-?(?:\w+__)?(frames|data)__\w+", lookup):
            self.report("data" if found[1] == "data" else "query", node, f"frames are looked up by {lookup}")

    def _is_other_data(self, owner: ast.expr) -> bool:
        return self.path.startswith((*MESSAGES, *DATASETS)) or bool(OTHER_DATA.fullmatch(ast.unparse(owner)))

    def _is_frames(self, node: ast.AST) -> bool:
        """Return whether the expression is a manager of frames, or a queryset derived from one."""
        if isinstance(node, ast.Subscript):
            return self._is_frames(node.value)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and self._is_frames(node.func.value):
            return node.func.attr not in RETURN_A_RESULT
        if not isinstance(node, ast.Attribute):
            return False
        owner = ast.unparse(node.value)
        if node.attr in MANAGERS:
            return owner.endswith("TeleopFrame")
        return node.attr == "frames" and ("session" in owner or not self.path.startswith(OTHER_FRAMES))


def violations(path: str, source: str) -> list[str]:
    access = Access(path)
    access.visit(ast.parse(source))
    allowed = {"data"} if path.startswith(READS_DATA) else {"query"} if path == QUERYSETS else set()
    return [problem for rule, problem in access.found if rule not in allowed]


def sources() -> Iterator[tuple[str, str]]:
    """Yield the path and the text of each file of our apps and of the settings."""
    every = [Path(config.path) for config in apps.get_app_configs()]
    for folder in [settings.BASE_DIR / "config", *(each for each in every if each.parent == settings.BASE_DIR)]:
        for file in sorted(folder.rglob("*.py")):
            path = file.relative_to(settings.BASE_DIR)
            if not {"tests", "migrations"} & set(path.parts):
                yield path.as_posix(), file.read_text()


def test_frames_are_accessed_only_in_the_allowed_modules():
    read = dict(sources())
    assert {QUERYSETS, "teleop/models.py", "robots/admin.py", "loadtest/run/databases.py"} <= read.keys()
    assert [each for path, source in read.items() for each in violations(path, source)] == []


@pytest.mark.parametrize(
    "source",
    [
        "names = list(frame.data)",
        "session.frames.first_frame().data",
        'getattr(frame, "data")',
        'rows = TeleopFrame.objects.of_session(1).values_list("data")',
        'cursor.execute("SELECT data FROM teleop_teleopframe")',
        "frames.filter(data__action=None)",
        "sessions.filter(frames__data__action=None)",
        "quality(data=frame.data)",
    ],
)
def test_it_detects_access_to_frame_data(source: str):
    assert violations("teleop/views.py", source)


@pytest.mark.parametrize(
    "source",
    [
        "session.frames.count()",
        "session.frames.order_by('frame_index').first()",
        "TeleopFrame.objects.of_session(1).filter(frame_index=2)",
        "TeleopFrame.objects.using('target').exists()",
        "models.TeleopFrame._base_manager.latest('timestamp')",
        "TeleopFrame.objects.all()[:5]",
        "stored = session.frames",
        "stored = TeleopFrame.objects.of_session(1)",
        "return page(TeleopFrame.objects)",
        "apps.get_model('teleop', 'TeleopFrame')",
        "from teleop.models import TeleopFrame as Frame",
        "sessions.annotate(last=Max('frames__timestamp'))",
        "sessions.filter(frames__timestamp=None)",
        "cursor.execute(f'SELECT max(timestamp) FROM {TeleopFrame._meta.db_table}')",
        "cursor.execute('SELECT max(timestamp) FROM teleop_teleopframe')",
        "libpq.exec_(b'TRUNCATE teleop_teleopframe')",
    ],
)
@pytest.mark.parametrize("path", ["teleop/admin/sessions.py", "teleop/frames/views.py", "teleop/ingest/presence.py"])
def test_it_detects_a_frame_query_outside_the_queryset(path: str, source: str):
    assert violations(path, f"def read(self, session, sessions, cursor, libpq):\n    {source}")


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("teleop/models.py", "next_index = self.frames.next_index()"),
        ("teleop/api/views.py", "count = TeleopFrame.objects.bounds(session_ids)[17][0]"),
        ("teleop/api/views.py", "stored = database_sync_to_async(TeleopFrame.objects.is_stored)"),
        ("teleop/api/views.py", "Response(self.get_serializer(session).data, data=request.data)"),
        ("teleop/ingest/store.py", "TeleopFrame.objects.using('default').bulk_create(rows)"),
        ("teleop/ingest/store.py", "COPY = b'COPY teleop_teleopframe (session_id, data) FROM STDIN'"),
        ("teleop/ingest/writer.py", "size = len(row.data)"),
        ("teleop/live/hub.py", "self.frames = [report.frames.first()]"),
        ("teleop/frames/data.py", "return frame.data"),
        ("teleop/admin/links.py", "url = 'admin:teleop_teleopframe_changelist'"),
    ],
)
def test_it_reports_no_false_positives(path: str, source: str):
    assert violations(path, source) == []
