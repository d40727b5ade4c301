"""Rules of accessibility, checked by axe-core in both themes: contrast, names of controls, landmarks, keyboard."""

from collections.abc import Iterator

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from robots.models import Robot
from teleop.models import TeleopSession
from teleop.tests.recordings import make_session
from tests.browser.users import BLANK, cases
from tests.services import ROOT

pytestmark = pytest.mark.postgresql  # once is enough

AXE = (ROOT / "tests/browser/vendor/axe-core-4.10.3/axe.min.js").read_text()
PHONE = {"width": 390, "height": 844}
# Swagger UI's own parts are its authors'. Its search box is Django's.
RUN = """async () => {
  const changes = document.getAnimations().filter((animation) => animation instanceof CSSTransition);
  await Promise.allSettled(changes.map(({ finished }) => finished)); // of colours, after a change of the theme
  const rules = { "label-title-only": { enabled: false } };
  const { violations } = await axe.run({ exclude: ["#swagger-ui"] }, { rules, preload: false });
  return violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.target}: ${node.failureSummary}`));
}"""
PAGES = {  # path: what is there when the page is ready
    "/": ".tile",
    "/robots/arm/live": "#last-sessions li",
    "/review": "[data-session]",
    "/sessions/{session}/replay": ".joint",
    "/hours": "h1",
    "/exports/list": "h1",
    "/exports/new": "h1",
    "/account": "h1",
    "/docs": ".opblock",
    "/robots/nobody/live": "h1",
    "/admin/": "h1",
    "/admin/auth/user/": "h1",
    "/admin/robots/robot/": "h1",
    "/admin/robots/robot/add/": "h1",
    "/admin/robots/robot/arm/change/": "h1",
    "/admin/teleop/teleopsession/": "h1",
    "/admin/teleop/teleopsession/{session}/change/": "h1",
}
PATHS = [*PAGES][:3], [*PAGES][3:]


@pytest.fixture
def session(transactional_db: None) -> TeleopSession:
    session = make_session(range(30))
    TeleopSession.objects.update(meta_info={"task": "Fold the towel", "success": False, "tags": ["slow"]})
    error = {"last_error_code": "index_reused", "last_error_detail": "frame 5 again", "last_error_at": timezone.now()}
    Robot.objects.filter(pk="arm").update(name="Left bench", **error)
    TeleopSession.objects.all().finish()
    return session


def each_of(paths: list[str], page: Page, session: TeleopSession) -> Iterator[str]:
    """Open one page after the other, and yield its path when it is ready."""
    for path in paths:
        page.goto(path.format(session=session.pk))
        expect(page.locator(PAGES[path]).first).to_be_visible()
        yield path


def violations(page: Page) -> list[str]:
    """Return what axe finds in the light theme and in the dark one."""
    page.evaluate(AXE)
    found = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        found += [f"{scheme}: {violation}" for violation in page.evaluate(RUN)]
    return found


@pytest.mark.parametrize("paths", cases(*PATHS))
def test_pages_have_no_violations_of_accessibility(visit, admin, console, session, paths):
    console.expect("status of 404")
    page = visit(BLANK, admin)
    found = {path: violations(page) for path in each_of(paths, page, session)}
    assert not any(found.values()), found


@pytest.mark.parametrize("paths", cases(*PATHS))
def test_pages_with_a_long_name_fit_a_phone(visit, admin, console, session, paths):
    console.expect("status of 404")
    Robot.objects.update(name="A name that is much too long for the screen of a phone " * 2)
    page = visit(BLANK, admin, viewport=PHONE)
    widths = {path: page.evaluate("document.documentElement.scrollWidth") for path in each_of(paths, page, session)}
    assert set(widths.values()) == {PHONE["width"]}, widths


def test_the_login_page_has_no_violations_of_accessibility(visit):
    assert violations(visit("/admin/login/")) == []
