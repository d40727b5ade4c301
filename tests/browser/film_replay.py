"""Films with numbered pictures, uploaded over REST and replayed: the picture shown is that of the cursor's time."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from pathlib import Path
from statistics import median

import requests
from playwright.sync_api import Page, expect

from teleop.models import TeleopSession
from teleop.tests.recordings import T0_S, make_session
from tests.browser.users import User
from tests.browser.video_fixtures import READ
from tests.services import ROOT, Server, wait_until

FOLDER = ROOT / "tests" / "films"
CAMERAS = {"front": 0, "late": 5}  # and when the film begins in the session, in seconds
DRAWN = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
INEXACT_S = 0.004  # the time on the page has milliseconds, and a phone's pictures are up to 2 ms late
# The cursor's time and each camera's number, read at every drawing of the page for half a second.
WATCH = f"""cameras => new Promise((done) => {{
  const found = [];
  const read = {READ};
  const began = performance.now();
  const look = () => {{
    found.push([document.querySelector(".time").textContent, cameras.map(read)]);
    if (performance.now() - began < 500) requestAnimationFrame(look);
    else done(found);
  }};
  requestAnimationFrame(look);
}})"""


@dataclass(frozen=True)
class Film:
    """A film of `count` pictures for `seconds` of a session; `missing` are numbers that no picture has."""

    name: str
    seconds: float = 10
    count: int = 300
    first: int = 0
    missing: range = range(0)
    preview: str = "original"
    make: Callable[[Path], None] | None = None  # writes the film; None: it is in FOLDER

    def number_at(self, time: float) -> int | None:
        """Return the number of the picture that holds `time` seconds after the film's begin; None: there is none."""
        if not 0 <= time < self.seconds:
            return None
        number = self.first + int(time * self.count / self.seconds)
        return self.missing.start - 1 if number in self.missing else number

    def path(self, folder: Path) -> Path:
        if self.make is None:
            return FOLDER / self.name
        self.make(folder / self.name)
        return folder / self.name


def post_film(server: Server, session: TeleopSession, path: Path, seconds: float, begin_s=0.0, camera="front") -> dict:
    """Upload the file as the session's robot; return the answer, or the fields of a refusal."""
    start = T0_S + begin_s
    form = {"session": session.pk, "camera_key": camera, "start_timestamp": start, "end_timestamp": start + seconds}
    key = {"Authorization": f"Bearer {session.robot.issue_key()}"}
    with path.open("rb") as file:
        answer = requests.post(f"{server.url}/videos", form, files={"file": file}, headers=key, timeout=60)
    return answer.json()


def upload_twice(server: Server, film: Film, folder: Path) -> TeleopSession:
    """Return a session with the film as both cameras."""
    session = make_session([0, round(60 * (film.seconds + max(CAMERAS.values()) + 1))], key=film.name)
    path = film.path(folder)
    for camera, begin_s in CAMERAS.items():
        answer = post_film(server, session, path, film.seconds, begin_s, camera)
        assert answer["preview"] == ("pending" if film.preview == "proxy" else film.preview), answer
    return session


def make_previews(server: Server) -> None:
    """Run the background work until all is done."""
    command = [sys.executable, "manage.py", "background", "--until-idle"]
    subprocess.run(command, cwd=ROOT, env=server.environment(), check=True)


def open_replay(visit: Callable[..., Page], session: TeleopSession, user: User, query="?t=0", **options) -> Page:
    page = visit(f"/sessions/{session.pk}/replay{query}", user, **options)
    expect(page.locator(".replay[data-ready]")).to_be_visible()
    return page


def seek(page: Page, time: float) -> None:
    """Click on the track, and wait until the page shows that time."""
    area = page.locator(".track .area")
    box = area.bounding_box()
    area.click(position={"x": box["width"] * time / duration_of(page), "y": box["height"] / 2})
    settle(page)


def settle(page: Page) -> None:
    """Wait until the page has drawn the change before, and its pictures have come."""
    page.evaluate(DRAWN)
    expect(page.locator(".replay")).to_have_attribute("data-state", "paused")


def duration_of(page: Page) -> float:
    return seconds_of(page.locator(".time").inner_text().split("/")[1])


def cursor_of(page: Page) -> float:
    return seconds_of(page.locator(".time").inner_text())


def seconds_of(text: str) -> float:
    """Return the seconds of `1:05.250 / 1:10.000`."""
    seconds = 0.0
    for part in text.split("/")[0].strip().split(":"):
        seconds = seconds * 60 + float(part)
    return seconds


def check_replay(film: Film, server: Server, visit: Callable[..., Page], user: User, folder: Path) -> None:
    """Upload the film and compare its pictures with the cursor, paused and playing."""
    session = upload_twice(server, film, folder)
    if film.preview == "proxy":
        make_previews(server)
    page = open_replay(visit, session, user)
    check_paused(page, film)
    check_playing(page, film)


def check_paused(page: Page, film: Film) -> None:
    """Put the cursor on several moments, also backwards, and compare each camera's picture with it."""
    late, edge = CAMERAS["late"], min(0.02, film.seconds / 3)
    for moment in (film.seconds - edge, late + edge, late + film.seconds - edge, film.seconds * 0.7, edge):
        seek(page, moment)
        time = cursor_of(page)
        for camera, begin_s in CAMERAS.items():
            possible = {film.number_at(time - begin_s + error) for error in (-INEXACT_S, INEXACT_S)}
            assert page.evaluate(READ, camera) in possible, f"{camera} at {time}"


def check_playing(page: Page, film: Film) -> None:
    """Play: the pictures are within one of the cursor, save a few that are drawn late by a busy machine."""
    seek(page, CAMERAS["late"] + min(film.seconds / 10, 500))
    page.keyboard.press("Space")
    expect(page.locator(".replay")).to_have_attribute("data-state", "playing")

    def agree() -> bool:
        errors: dict[str, list[float]] = {camera: [] for camera in CAMERAS}
        for text, numbers in page.evaluate(WATCH, list(CAMERAS)):
            for (camera, begin_s), number in zip(CAMERAS.items(), numbers, strict=True):
                expected = film.number_at(seconds_of(text) - begin_s)
                late = 0 if number == expected else inf if None in (number, expected) else abs(number - expected)
                errors[camera].append(late)
        return all(median(each) <= 1 for each in errors.values())

    wait_until(agree, 10)
    page.keyboard.press("Space")
    settle(page)
