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
# A browser without processor time may draw nothing for seconds, and evaluate() waits for ever.
DRAWN = """() => new Promise((done) => {
  requestAnimationFrame(() => requestAnimationFrame(done));
  setTimeout(done, 5000);
})"""
WORK = """
import django
django.setup()
from teleop.background.worker import Worker
from teleop.ingest.transactions import use_dedicated_connection
use_dedicated_connection()
Worker().run(until_idle_s=0)
"""
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
  setTimeout(() => done(found), 5000);
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


Films = dict[str, tuple[Film, float]]  # a camera's film, and when it begins in the session, in seconds


def post_film(server: Server, session: TeleopSession, path: Path, seconds: float, begin_s=0.0, camera="front") -> dict:
    """Upload the file as the session's robot; return the answer, or the fields of a refusal."""
    start = T0_S + begin_s
    form = {"session": session.pk, "camera_key": camera, "start_timestamp": start, "end_timestamp": start + seconds}
    key = {"Authorization": f"Bearer {session.robot.issue_key()}"}
    with path.open("rb") as file:
        answer = requests.post(f"{server.url}/videos", form, files={"file": file}, headers=key, timeout=60)
    return answer.json()


def twice(film: Film) -> Films:
    """Return the film as two cameras, of which one begins later."""
    return {"front": (film, 0), "late": (film, 5)}


def upload(server: Server, films: Films, folder: Path) -> TeleopSession:
    """Return a session with these films."""
    seconds = max(begin_s + film.seconds for film, begin_s in films.values())
    session = make_session([0, round(60 * (seconds + 1))])
    for camera, (film, begin_s) in films.items():
        answer = post_film(server, session, film.path(folder), film.seconds, begin_s, camera)
        assert answer["preview"] == ("pending" if film.preview == "proxy" else film.preview), answer
    return session


def make_previews(server: Server) -> None:
    """Do the background work until all is done. `manage.py background` would wait for spare processor time."""
    subprocess.run([sys.executable, "-c", WORK], cwd=ROOT, env=server.environment(), check=True)


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


def check_replay(films: Films, server: Server, visit: Callable[..., Page], user: User, folder: Path) -> None:
    """Upload the films and compare their pictures with the cursor, paused and playing."""
    session = upload(server, films, folder)
    if any(film.preview == "proxy" for film, _ in films.values()):
        make_previews(server)
    page = open_replay(visit, session, user)
    check_paused(page, films)
    check_playing(page, films)


def check_paused(page: Page, films: Films) -> None:
    """Put the cursor on several moments, also backwards, and compare each camera's picture with it."""
    ends, begins = [], []
    for film, begin_s in films.values():
        edge = min(0.02, film.seconds / 3)
        ends.append(begin_s + film.seconds - edge)
        begins.append(begin_s + edge)
    for moment in dict.fromkeys([*ends, min(ends) * 0.7, *begins]):
        seek(page, moment)
        time = cursor_of(page)
        for camera, (film, begin_s) in films.items():
            possible = {film.number_at(time - begin_s + error) for error in (-INEXACT_S, INEXACT_S)}
            assert page.evaluate(READ, camera) in possible, f"{camera} at {time}"


def check_playing(page: Page, films: Films) -> None:
    """Play: the pictures are within one of the cursor, save a few that are drawn late by a busy machine."""
    shortest = min(film.seconds for film, _ in films.values())
    seek(page, max(begin_s for _, begin_s in films.values()) + min(shortest / 10, 500))
    page.keyboard.press("Space")
    expect(page.locator(".replay")).to_have_attribute("data-state", "playing")

    def agree() -> bool:
        errors: dict[str, list[float]] = {camera: [] for camera in films}
        for text, numbers in page.evaluate(WATCH, list(films)):
            for (camera, (film, begin_s)), number in zip(films.items(), numbers, strict=True):
                expected = film.number_at(seconds_of(text) - begin_s)
                late = 0 if number == expected else inf if None in (number, expected) else abs(number - expected)
                errors[camera].append(late)
        return all(each and median(each) <= 1 for each in errors.values())

    wait_until(agree, 10)
    page.keyboard.press("Space")
    settle(page)
