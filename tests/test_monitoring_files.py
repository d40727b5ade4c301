"""Dashboard and alerts query only metrics that exist."""

import re
from pathlib import Path

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest

DOCS = Path(__file__).parent.parent / "docs"
pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("file", ["grafana.json", "alerts.yml"])
def test_every_metric_in_dashboard_and_alerts_exists(file: str, monkeypatch):
    from teleop.monitoring import exporter
    from teleop.monitoring.storage import measure

    monkeypatch.setattr(exporter, "stored", lambda: measure()._replace(days_left=1.0))
    asked_at_scrape = CollectorRegistry()
    asked_at_scrape.register(exporter.FromDatabase())
    pages = generate_latest(REGISTRY) + generate_latest(asked_at_scrape)
    there = set(re.findall(r"^# TYPE (\w+)", pages.decode(), re.MULTILINE))
    asked = set(re.findall(r"teleop_\w+", (DOCS / file).read_text()))
    assert len(asked) > 5
    assert {name.removesuffix("_bucket") for name in asked} <= there
