import json
import re

import pytest

from loadtest import require
from loadtest.report import html
from loadtest.report.plots import line_chart, round_up
from loadtest.report.sections import SEND_OR_COMMIT, sections
from loadtest.require import Condition, parse_conditions
from loadtest.run.processes import Unusable
from loadtest.tests.rows import GOOD, MACHINE, detail


def test_the_report_shows_published_numbers_for_comparison():
    text = html.markdown(sections(MACHINE, [detail(), detail(database="sqlite", robots=10, rps=600.0)], []))
    assert SEND_OR_COMMIT in text
    assert "| 50 | 3000 / 3000 | 100.0 % | 95 % (at the limit) | 15 | 28 | < 60 |" in text
    assert "## 4.1 SQLite" in text
    assert "## 4.2 PostgreSQL" in text


def test_all_rows_of_a_table_have_the_same_number_of_cells():
    text = html.markdown(sections(MACHINE, [detail()], []))
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1


def test_the_html_report_is_self_contained_and_escaped():
    found = detail()
    found["problems"] = ["<script>alert(1)</script>"]
    page = html.html(sections(MACHINE, [found], []), [found])
    assert page.count("<svg") == 7
    assert "<script" not in page
    assert not re.search(r"(src|href)=|url\(|@import", page)


def test_the_report_lists_problems_and_the_bottleneck():
    found = detail(stored=89100, verdict="failed")
    found["problems"] = ["900 of 90000 acknowledged frames are not stored"]
    found["bottleneck"] = "the generator was the bottleneck: it used 95% of its core"
    text = html.markdown(sections(MACHINE, [found], []))
    assert "900 of 90000 acknowledged frames are not stored" in text
    assert "the generator was the bottleneck: it used 95% of its core" in text
    assert "90000 / 90000 / 89100" in text


def test_it_shows_the_cpu_of_redis_by_name():
    found = detail(workers=2)
    found["redis_cpu"] = 3.5
    text = html.markdown(sections(MACHINE, [found, detail()], []))
    header, _, *rows = text[text.index("## 5.2") :].split("\n\n")[2].splitlines()
    assert [row.split("|")[header.split("|").index(" Redis CPU % ")] for row in rows] == [" 3.5 ", " - "]


def test_a_chart_omits_missing_values():
    assert line_chart("t", "ms", {"a": [(1, None)]}) is None
    chart = line_chart("t", "ms", {"a": [(1, None), (2, 3)], "b": []}, bound=4)
    assert chart.lines == [("a", "100.00,50.00"), ("b", "")]
    assert (chart.x_end, chart.y_values, chart.bound) == ("2 s", ["6", "4.5", "3", "1.5", "0"], ("4", "33.33"))


@pytest.mark.parametrize("value", [0, 0.3, 1, 7, 99, 101, 950, 1234, 99_999])
def test_an_axis_ends_above_its_highest_value(value):
    assert value <= round_up(value) <= max(1, value * 2.5)


def test_it_parses_conditions():
    assert parse_conditions("p95_ms<100, failures==0") == [
        Condition("p95_ms", "<", 100.0),
        Condition("failures", "==", 0.0),
    ]
    assert parse_conditions("verdict==met") == [Condition("verdict", "==", "met")]
    assert parse_conditions("") == []


@pytest.mark.parametrize("text", ["p95_ms", "speed<1", "p95_ms<", "p95_ms=1", "p95_ms<nan", ",", "verdict<met"])
def test_it_refuses_an_invalid_condition(text):
    with pytest.raises(Unusable, match="--require has"):
        parse_conditions(text)


def test_a_condition_is_missed_if_the_value_is_missing():
    rows = [GOOD, GOOD | {"p95_ms": 120.0}, GOOD | {"p95_ms": None}]
    missed = require.misses(parse_conditions("p95_ms<100,stored>=90000"), rows)
    assert missed == [
        "postgres, 50 robots: p95_ms<100 is missed, p95_ms is 120.0",
        "postgres, 50 robots: p95_ms<100 is missed, p95_ms is None",
    ]


def test_it_compares_runs_common_to_both_results(tmp_path):
    for name, p95_ms in (("a", 20.0), ("b", 30.0)):
        rows = [GOOD | {"p95_ms": p95_ms}, GOOD | {"robots": len(name) if name == "a" else 7}]
        (tmp_path / name).write_text(json.dumps({"machine": MACHINE, "runs": rows}))
    rows = require.compared(*(require.read_results(str(tmp_path / name)) for name in "ab"))
    assert ["postgres, 50 robots, 1 workers, 1 a message, 30 s", "p95_ms", "20.0", "30.0", "1.50"] in rows
    assert len(rows) == len(require.COMPARED)


def test_it_compares_runs_of_the_same_duration():
    short, long = GOOD | {"p95_ms": 20.0}, GOOD | {"duration_s": 60, "p95_ms": 40.0}
    rows = require.compared([long], [short, long])
    assert [row[2:] for row in rows if row[1] == "p95_ms"] == [["40.0", "40.0", "1.00"]]
    assert {row[0] for row in rows} == {"postgres, 50 robots, 1 workers, 1 a message, 60 s"}


@pytest.mark.parametrize("content", ["", "[]", '{"runs": [{}]}', '{"runs": 3}'])
def test_it_refuses_a_file_that_is_not_results_json(tmp_path, content):
    (tmp_path / "a").write_text(content)
    with pytest.raises(Unusable, match=r"not a results\.json"):
        require.read_results(str(tmp_path / "a"))
