"""Write report.md and report.html from the same sections; pure but for the two files."""

from html import escape
from pathlib import Path

from loadtest.report.plots import line_chart
from loadtest.report.sections import Section

HEADING = "Load test"
STYLE = """
:root { color-scheme: light dark }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1320px; margin: 2em auto; padding: 0 1em }
.scroll { overflow-x: auto }
table { border-collapse: collapse; margin: 1em 0; font-variant-numeric: tabular-nums }
th, td { border-bottom: 1px solid #8884; padding: .3em .7em; text-align: left; font-size: 13px }
.met { color: #2e8b57 } .close { color: #c77f1a } .missed, .failed { color: #c0392b; font-weight: bold }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(440px, 1fr)); gap: 1em }
figure { margin: 0 } svg { width: 100%; height: auto }
svg text { fill: currentColor; font-size: 11px } .grid { stroke: #8884 }
.bound { stroke: currentColor; stroke-dasharray: 5 4; opacity: .6 }
.legend { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .2em 1em; font-size: 12px }
.legend i { display: inline-block; width: .8em; height: .8em; margin-right: .4em }
"""


def write(folder: Path, sections: list[Section], details: list[dict]) -> None:
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


def html(sections: list[Section], details: list[dict]) -> str:
    first, *others = [section_html(section) for section in sections]
    body = "\n".join([f"<h1>{HEADING}</h1>", first, f'<div class="plots">{plots(details)}</div>', *others])
    head = f'<meta charset="utf-8"><title>{HEADING}</title><style>{STYLE}</style>'
    return f"<!doctype html>\n<html lang=en><head>{head}</head>\n<body>\n{body}\n</body></html>\n"


def section_html(section: Section) -> str:
    parts = [f"<h2>{escape(section.title)}</h2>"]
    parts += [f"<p>{escape(text)}</p>" for text in section.text.split("\n\n") if text]
    if section.rows:
        head = "".join(f"<th>{escape(cell)}</th>" for cell in section.columns)
        rows = "\n".join("<tr>" + "".join(map(cell_html, row)) + "</tr>" for row in section.rows)
        parts.append(f'<div class="scroll"><table><tr>{head}</tr>\n{rows}</table></div>')
    return "\n".join(parts)


def cell_html(cell: str) -> str:
    kind = f' class="{cell}"' if cell in ("met", "close", "missed", "failed") else ""
    return f"<td{kind}>{escape(cell)}</td>"


def plots(details: list[dict]) -> str:
    def over_time(name: str) -> dict:
        return {each["run"]: [(second["second"], second[name]) for second in each["seconds"]] for each in details}

    cumulative = {
        each["run"]: [(n, value) for n, value in enumerate(each["result"]["distribution_ms"])] for each in details
    }
    charts = [
        line_chart("Frames sent", "s", "frames a second", over_time("rate")),
        line_chart("Latency p95 over time", "s", "ms", over_time("p95_ms"), bound=100),
        line_chart("Latency by percentile", "% of frames", "ms, up to the slowest", cumulative, bound=100),
        line_chart("Sent and not yet acknowledged", "s", "frames", over_time("lag_frames")),
        line_chart("CPU of the server", "s", "% of a core", over_time("cpu"), bound=90),
        line_chart("Memory of the server", "s", "MB, all workers", over_time("memory_mb"), bound=200),
        line_chart("CPU of the database", "s", "% of a core", over_time("db_cpu")),
    ]
    return "\n".join(chart for chart in charts if chart)
