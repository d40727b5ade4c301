from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from robots.tests.admin_clients import staff_admin, staff_curator, staff_outsider, staff_viewer  # noqa: F401 - fixtures
from robots.tests.api_clients import admin, anonymous, arm, curator, leg, outsider, viewer  # noqa: F401 - fixtures


@pytest.fixture(scope="session")
def _exports(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from datasets.tests.verified_exports import Exports  # models: once Django is set up

    return Exports(tmp_path_factory.mktemp("exports"))


@pytest.fixture
def export(_exports: Any, db: None, settings: Any, tmp_path: Path) -> Callable[..., Any]:
    """Return a function: `export("copied", format="lerobot-v2.1")` makes an export that is right."""
    settings.MEDIA_ROOT = _exports.media
    return lambda kind, **options: _exports.make(kind, tmp_path / "export", **options)


@pytest.fixture
def media(settings: Any, tmp_path: Path) -> Path:
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.MEDIA_ROOT.mkdir()
    return settings.MEDIA_ROOT
