import json
import logging
import os
import subprocess
import sys

from teleop.logs import RateLimit

LOG_A_LINE = """
import os, logging, django
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
django.setup()
logging.getLogger("teleop").info("robot %s: over", "arm", extra={"robot": "arm"})
"""


def record(text="refused arm"):
    return logging.LogRecord("teleop.consumers", logging.WARNING, __file__, 1, text, (), None)


def test_it_lets_only_so_many_records_pass():
    limit = RateLimit(most=3, seconds=10, clock=lambda: 0.0)
    assert [limit.filter(record()) for _ in range(5)] == [True, True, True, False, False]


def test_it_says_later_how_many_it_held_back():
    now = [0.0]
    limit = RateLimit(most=1, seconds=10, clock=lambda: now[0])
    for _ in range(4):
        limit.filter(record())
    now[0] = 10.0
    assert limit.filter(late := record())
    assert late.getMessage() == "refused arm (3 more were not logged)"


def test_as_json_a_line_is_an_object_with_its_extras():
    settings = subprocess.run(
        [sys.executable, "-c", LOG_A_LINE],
        env=os.environ | {"LOG_FORMAT": "json"},
        capture_output=True,
        text=True,
        check=True,
    )
    line = json.loads(settings.stderr)
    assert line["message"] == "robot arm: over"
    assert (line["levelname"], line["name"], line["robot"]) == ("INFO", "teleop", "arm")
    assert line["timestamp"].endswith("+00:00")
