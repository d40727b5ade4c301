"""Write report.md and report.html from the same sections; pure but for the two files."""

from pathlib import Path
from typing import Any

from django.template import Context, Engine

from loadtest.report.plots import charts
from loadtest.report.sections import VERDICTS, Section

HEADING = "Load test"
TEMPLATES = Engine(dirs=[Path(__file__).parent / "templates"])


def write(folder: Path, sections: list[Section], details: list[dict[str, Any]]) -> None:
    (folder / "report.md").write_text(markdown(sections))
    (folder / "report.html").write_text(html(sections, details))


def markdown(sections: list[Section]) -> str:
    parts = [f"# {HEADING}"]
    for section in sections:
        parts += [f"## {section.title}", section.text]
        if section.rows:
            lines = [section.columns, ["---"] * len(section.columns), *section.rows]
            parts.append("\n".join(map(row_markdown, lines)))
    return "\n\n".join(part for part in parts if part) + "\n"


def row_markdown(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def html(sections: list[Section], details: list[dict[str, Any]]) -> str:
    content = {"heading": HEADING, "sections": sections, "charts": charts(details), "verdicts": VERDICTS}
    return TEMPLATES.get_template("report.html").render(Context(content))
