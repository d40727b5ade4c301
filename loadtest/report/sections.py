"""The report's tables, as data from which Markdown and HTML are made; pure."""

from typing import Any, NamedTuple

from loadtest.generator.frames import FPS
from loadtest.report import published
from loadtest.report.verdicts import missed, rate_percent

NAMES = {"sqlite": "SQLite", "postgres": "PostgreSQL", "remote": "the server's own database"}
SEND_OR_COMMIT = (
    "The latencies of the published report are the time of the client's send() alone, because its server "
    "acknowledges nothing. Our latencies, except in the columns of send(), are the time from send() to the ack, which "
    "confirms the commit of the frame."
)
Cells = list[str]


class Section(NamedTuple):
    title: str
    text: str
    columns: Cells = []
    rows: list[Cells] = []


def sections(machine: dict[str, Any], details: list[dict[str, Any]], extra: list[Section]) -> list[Section]:
    return [
        measured_on(machine, details),
        *throughput(details),
        *(section for section in extra if section.title < "5.2"),
        resources(details),
        api(details),
        *(section for section in extra if section.title > "5.2"),
        problems(details),
    ]


def measured_on(machine: dict[str, Any], details: list[dict[str, Any]]) -> Section:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    text = (
        f"{machine['cpu_model']}, {machine['cores']} cores, {machine['memory_mb']} MB, {machine['system']}. "
        f"The server's limits: {machine['limits']}. {versions}.\n\n{SEND_OR_COMMIT}"
    )
    counts = {word: sum(detail["row"]["verdict"] == word for detail in details) for word in VERDICTS}
    return Section("Measured on", text, ["verdict", "runs", "meaning"], verdict_rows(counts))


VERDICTS = {
    "met": "all parts of the target",
    "close": "p95 < 150 ms, failures < 1 %, 95 % of the rate, but not all parts of the target",
    "missed": "worse than close",
    "failed": "frames sent, acknowledged and stored are not the same number",
    "no verdict": "the generator was the bottleneck, or other processes kept the machine busy",
}


def verdict_rows(counts: dict[str, int]) -> list[Cells]:
    return [[word, str(count), VERDICTS[word]] for word, count in counts.items() if count]


def throughput(details: list[dict[str, Any]]) -> list[Section]:
    columns = [
        "robots", "frames/s", "of the rate", "published", "ack median ms", "ack p95 ms", "target", "send() p95 ms",
        "send() p95 published ms", "failures", "published failures", "sent / acked / stored", "verdict",
    ]  # fmt: skip
    found = []
    for number, database in (("4.1 ", "sqlite"), ("4.2 ", "postgres"), ("", "remote")):
        rows = [throughput_row(detail) for detail in details if detail["row"]["database"] == database]
        if rows:
            title = f"{number}{NAMES[database]}: throughput and latency"
            text = "Published latency: send() alone. Our latency: up to the commit."
            found.append(Section(title, text, columns, rows))
    return found


def throughput_row(detail: dict[str, Any]) -> Cells:
    row, is_mute, is_mixed = detail["row"], detail["row"]["acked"] is None, detail["scenario"] == "mixed"
    reference = published.PUBLISHED.get((row["database"], row["robots"]))
    target = published.target(row["database"], row["robots"])
    return [
        title(detail),
        f"{row['rps']:g} with requests" if is_mixed else f"{row['rps']:g} / {row['robots'] * FPS}",
        "-" if is_mixed else f"{rate_percent(row):.1f} %",
        f"{reference.rate_percent:g} %" + f" ({reference.note})" * bool(reference.note) if reference else "-",
        "mute" if is_mute else number(row["p50_ms"]),
        "mute" if is_mute else number(row["p95_ms"]),
        f"< {target.p95_ms:g}",
        number(row["send_p95_ms"]),
        f"{reference.p95_ms:g}" if reference else "-",
        str(row["failures"]),
        f"{reference.failures_percent:g} %" if reference else "-",
        counted(row),
        row["verdict"],
    ]


def title(detail: dict[str, Any]) -> str:
    """Return the label that tells a row from its neighbours: "50", or "50, 6 frames a message"."""
    return detail["run"].partition(", ")[2].replace(" robots", "", 1)


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"


def counted(row: dict[str, Any]) -> str:
    values = [row["sent"], row["stored"]] if row["acked"] is None else [row["sent"], row["acked"], row["stored"]]
    return f"{values[0]} each" if len(set(values)) == 1 else " / ".join(map(str, values))


def resources(details: list[dict[str, Any]]) -> Section:
    columns = ["run", "CPU %", "target", "published", "peak memory MB", "target", "published"]
    columns += [
        "database CPU %",
        "database connections",
        "Redis CPU %",
        "generator CPU %",
        "generator late p95 ms",
        "other processes %",
    ]
    rows = []
    for detail in details:
        row, generator = detail["row"], detail["result"]["generator"]
        target = published.target(row["database"], row["robots"])
        reference = published.PUBLISHED.get((row["database"], row["robots"]))
        connections = number(row["db_connections"])
        if reference and reference.connections:
            connections += f" (target < {target.db_connections}, published {reference.connections})"
        usage = [number(row["cpu"]), f"< {target.cpu:g}", published.PUBLISHED_CPU_PERCENT]
        usage += [number(row["memory_mb"]), f"< {target.memory_mb:g}", str(published.PUBLISHED_MEMORY_MB)]
        usage += [number(detail["db_cpu"]), connections, number(detail["redis_cpu"])]
        usage += [f"{generator['cpu'] * 100:.0f}", number(generator["slip_ms"]["p95"])]
        rows.append([detail["run"], *usage, f"{detail['others_cpu'] * 100:.0f}"])
    text = (
        "CPU of the server is in percent of the CPUs that it may use; CPU of the database, Redis and the generator "
        "is in percent of one core. Memory is the RSS of all workers."
    )
    return Section("5.2 Resources", text, columns, rows)


def api(details: list[dict[str, Any]]) -> Section:
    rows = [
        [detail["run"], name, *(number(values[q]) for q in ("p50", "p95", "p100"))]
        for detail in details
        for name, values in detail["result"]["api_ms"].items()
    ]
    text = "While the robots stream, one client for every five robots sends a request every 1-3 s."
    return Section("API response times", text, ["run", "request", "median ms", "p95 ms", "slowest ms"], rows)


def problems(details: list[dict[str, Any]]) -> Section:
    rows = []
    for detail in details:
        failures = detail["result"]["failures"] | detail["result"]["api_failures"]
        found = [*detail["problems"], *(f"{count} x {failure}" for failure, count in failures.items())]
        found += [detail["bottleneck"]] if detail["bottleneck"] else []
        if detail["row"]["verdict"] in ("close", "missed"):
            found += missed(detail["row"] | {"scenario": detail["scenario"]})
        rows += [[detail["run"], problem] for problem in found]
    if not rows:
        return Section("Problems", "None: every sent frame is stored, every request was answered, no request failed.")
    return Section("Problems", "", ["run", "problem"], rows)
