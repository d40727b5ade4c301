"""Progress output for a developer: a bar and a line of numbers during a run, and one line when a run is done."""

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Table

from loadtest.run.plan import Run

STYLES = {"met": "green", "close": "yellow", "missed": "red", "failed": "bold red", "no verdict": "magenta"}


class Progress:
    def __init__(self) -> None:
        self.console = Console()
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[now]}"), TimeElapsedColumn())
        self._bar = Bar(*columns, console=self.console, transient=True)
        self._done = 0
        self._task = self._bar.add_task("", total=None, now="starting")

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def watch(self, run: Run, event: dict[str, Any]) -> None:
        now = event["phase"]
        if now == "second":
            p95 = f"p95 {event['p95_ms']:.0f} ms" if event["p95_ms"] is not None else "no answers"
            now = f"{event['rate']} frames/s, {p95}, {event['failures']} failures"
        total, done = run.duration_s, event.get("second", run.duration_s if now == "draining" else 0)
        self._bar.update(self._task, description=f"{self._done + 1}. {run}", total=total, completed=done, now=now)

    def done(self, detail: dict[str, Any]) -> None:
        row = detail["row"]
        numbers = f"{row['sent']} sent, {row['acked']} acked, {row['stored']} stored, p95 {row['p95_ms']} ms"
        usage = f"CPU {row['cpu']} %, {row['memory_mb']} MB" if row["cpu"] is not None else ""
        verdict = f"[{STYLES[row['verdict']]}]{row['verdict']}[/]"
        self.print_line(f"{detail['run']}: {verdict}; {numbers}; {row['failures']} failures; {usage}")
        for problem in detail["problems"]:
            self.print_line(f"  {problem}")
        if detail["bottleneck"]:
            self.print_line(f"  {detail['bottleneck']}")
        self._done += 1
        self._bar.update(self._task, now="starting", completed=0)

    def print_line(self, line: str) -> None:
        self.console.print(line, highlight=False, soft_wrap=True)

    def table(self, columns: list[str], rows: list[list[str]]) -> None:
        table = Table(*columns)
        for row in rows:
            table.add_row(*row)
        self.console.print(table)
