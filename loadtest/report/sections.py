"""The report's tables, as data from which Markdown and HTML are made; pure."""

from typing import NamedTuple

from loadtest.generator.frames import FPS
from loadtest.report import published
from loadtest.report.verdicts import missed, rate_percent

NAMES = {"sqlite": "SQLite", "postgres": "PostgreSQL", "remote": "the server's own database"}
SEND_OR_COMMIT = (
    "Latencies published by the report are of the client's send() alone: nothing is acknowledged there. Ours, "
    "but for the columns of send(), are from send() to the ack, which says that the frame is committed."
)
Cells = list[str]


class Section(NamedTuple):
    title: str
    text: str
    columns: Cells = []
    rows: list[Cells] = []


def sections(machine: dict, details: list[dict], extra: list[Section]) -> list[Section]:
    return [
        measured_on(machine, details),
        *throughput(details),
        *(section for section in extra if section.title < "5.2"),
        resources(details),
        api(details),
        *(section for section in extra if section.title > "5.2"),
        what_went_wrong(details),
    ]


def measured_on(machine: dict, details: list[dict]) -> Section:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    text = (
        f"{machine['cpu_model']}, {machine['cores']} cores, {machine['memory_mb']} MB, {machine['system']}. "
        f"The server's limits: {machine['limits']}. {versions}.\n\n{SEND_OR_COMMIT}"
    )
    counts = {word: sum(each["row"]["verdict"] == word for each in details) for word in VERDICTS}
    return Section("Measured on", text, ["verdict", "runs", "means"], verdict_rows(counts))


VERDICTS = {
    "met": "all parts of the target",
    "close": "p95 < 150 ms, failures < 1 %, 95 % of the rate; some part of the target missed",
    "missed": "less than that",
    "failed": "frames sent, acknowledged and stored are not the same number",
    "no verdict": "the generator was the bottleneck, or other processes kept the machine busy",
}


def verdict_rows(counts: dict[str, int]) -> list[Cells]:
    return [[word, str(count), VERDICTS[word]] for word, count in counts.items() if count]


def throughput(details: list[dict]) -> list[Section]:
    columns = [
        "robots", "frames/s", "of the rate", "published", "ack median ms", "ack p95 ms", "target", "send() p95 ms",
        "send() p95 published ms", "failures", "published failures", "sent / acked / stored", "verdict",
    ]  # fmt: skip
    found = []
    for number, database in (("4.1 ", "sqlite"), ("4.2 ", "postgres"), ("", "remote")):
        rows = [throughput_row(each) for each in details if each["row"]["database"] == database]
        if rows:
            title = f"{number}{NAMES[database]}: throughput and latency"
            found.append(Section(title, "Latency published: send() alone. Ours: to the commit.", columns, rows))
    return found


def throughput_row(detail: dict) -> Cells:
    row, is_mute, is_mixed = detail["row"], detail["row"]["acked"] is None, detail["scenario"] == "mixed"
    theirs = published.PUBLISHED.get((row["database"], row["robots"]))
    target = published.target(row["database"], row["robots"])
    return [
        title(detail),
        f"{row['rps']:g} with requests" if is_mixed else f"{row['rps']:g} / {row['robots'] * FPS}",
        "-" if is_mixed else f"{rate_percent(row):.1f} %",
        f"{theirs.rate_percent:g} %" + f" ({theirs.note})" * bool(theirs.note) if theirs else "-",
        "mute" if is_mute else number(row["p50_ms"]),
        "mute" if is_mute else number(row["p95_ms"]),
        f"< {target.p95_ms:g}",
        number(row["send_p95_ms"]),
        f"{theirs.p95_ms:g}" if theirs else "-",
        str(row["failures"]),
        f"{theirs.failures_percent:g} %" if theirs else "-",
        counted(row),
        row["verdict"],
    ]


def title(detail: dict) -> str:
    """Return the label that tells a row from its neighbours: "50", or "50, 6 frames a message"."""
    return detail["run"].partition(", ")[2].replace(" robots", "", 1)


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"


def counted(row: dict) -> str:
    values = [row["sent"], row["stored"]] if row["acked"] is None else [row["sent"], row["acked"], row["stored"]]
    return f"{values[0]} each" if len(set(values)) == 1 else " / ".join(map(str, values))


def resources(details: list[dict]) -> Section:
    columns = ["run", "CPU %", "target", "published", "peak memory MB", "target", "published"]
    columns += [
        "database CPU %",
        "database connections",
        "generator CPU %",
        "generator late p95 ms",
        "other processes %",
    ]
    rows = []
    for each in details:
        row, generator = each["row"], each["result"]["generator"]
        target = published.target(row["database"], row["robots"])
        theirs = published.PUBLISHED.get((row["database"], row["robots"]))
        connections = number(row["db_connections"])
        if theirs and theirs.connections:
            connections += f" (target < {target.db_connections}, published {theirs.connections})"
        usage = [number(row["cpu"]), f"< {target.cpu:g}", published.PUBLISHED_CPU_PERCENT]
        usage += [number(row["memory_mb"]), f"< {target.memory_mb:g}", str(published.PUBLISHED_MEMORY_MB)]
        own = [f"{generator['cpu'] * 100:.0f}", number(generator["slip_ms"]["p95"]), f"{each['others_cpu'] * 100:.0f}"]
        rows.append([each["run"], *usage, number(each["db_cpu"]), connections, *own])
    text = "CPU of the server: of what it may use; of the database and the generator: of one core. Memory: RSS over "
    return Section("5.2 Resources", text + "all workers.", columns, rows)


def api(details: list[dict]) -> Section:
    rows = [
        [each["run"], name, *(number(values[q]) for q in ("p50", "p95", "p100"))]
        for each in details
        for name, values in each["result"]["api_ms"].items()
    ]
    text = "One client for five robots, a request every 1-3 s, while the robots stream."
    return Section("API response times", text, ["run", "request", "median ms", "p95 ms", "slowest ms"], rows)


def what_went_wrong(details: list[dict]) -> Section:
    rows = []
    for each in details:
        failures = each["result"]["failures"] | each["result"]["api_failures"]
        found = [*each["problems"], *(f"{count} x {what}" for what, count in failures.items())]
        found += [each["bottleneck"]] if each["bottleneck"] else []
        if each["row"]["verdict"] in ("close", "missed"):
            found += missed(each["row"] | {"scenario": each["scenario"]})
        rows += [[each["run"], what] for what in found]
    if not rows:
        return Section("What went wrong", "Nothing: every frame sent is stored, all was answered, no request failed.")
    return Section("What went wrong", "", ["run", "what"], rows)
