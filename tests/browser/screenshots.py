"""Take the README's pictures: `python -m tests.browser.screenshots` serves and simulates robots with video.

Uses a database and a media folder of its own, in about three minutes. Each is a PNG of at most 300 kB, in docs/images.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import orjson
from playwright.sync_api import APIRequestContext, Browser, Page, Playwright, sync_playwright

from tests.browser import synthetic_video
from tests.services import ROOT, Server, wait_until

CHROMIUM = "/usr/bin/chromium-headless-shell"
IMAGES = ROOT / "docs" / "images"
MAX_BYTES = 300_000
SIZE = {"width": 1600, "height": 900}
PHONE = {"width": 390, "height": 844}
LOGIN = {"username": "admin", "password": "for the pictures"}
RECORDED_S, CHUNK_S = 30, 10
STRIDE = 60 // synthetic_video.FPS  # frames a picture
NAMES = {"robot_001": "Left bench", "robot_002": "Right bench", "robot_003": "Kitchen", "robot_004": "Window"}
LABELS = [
    {
        "success": True,
        "task": "Put the cube into the box",
        "tags": ["cube"],
        "note": "The second grasp slips a little.",
    },
    {"success": True, "task": "Fold the towel", "tags": ["towel", "slow"]},
    {"success": False, "task": "Fold the towel", "tags": ["towel"], "note": "Dropped it."},
    {"task": "Sort the screws"},
]


def manage(environment: dict[str, str], *arguments: str) -> None:
    subprocess.run([sys.executable, "manage.py", *arguments], cwd=ROOT, env=environment, check=True)


def simulation(server: Server, robots: int, seconds: int = 0) -> subprocess.Popen:
    options = {"--robots": robots, "--duration": seconds, "--url": server.url}
    command = [sys.executable, "manage.py", "simulate", *(str(each) for pair in options.items() for each in pair)]
    return subprocess.Popen(command, cwd=ROOT, env=server.environment(), stdout=subprocess.DEVNULL)


class Api:
    """Client of the REST API, as an administrator."""

    def __init__(self, playwright: Playwright, server: Server):
        anyone = playwright.request.new_context(base_url=server.url)
        token = self.checked(anyone.post("/auth/token", data=LOGIN)).json()["token"]
        headers = {"Authorization": f"Token {token}"}
        self.context: APIRequestContext = playwright.request.new_context(
            base_url=server.url, extra_http_headers=headers
        )

    @staticmethod
    def checked(answer):
        assert answer.ok, f"{answer.url}: {answer.status} {answer.text()}"
        return answer

    def get(self, path: str):
        return self.checked(self.context.get(path, timeout=60_000))

    def patch(self, path: str, data: dict) -> None:
        self.checked(self.context.patch(path, data=data))

    def post(self, path: str, **body) -> None:
        self.checked(self.context.post(path, timeout=60_000, **body))


def curate(api: Api) -> int:
    """Add names, labels, videos and a mark; return the id of the session to replay, once its quality is computed."""
    for robot_id, name in NAMES.items():
        api.patch(f"/robots/{robot_id}", {"name": name})
    sessions = sorted(api.get("/sessions").json()["results"], key=lambda session: session["robot"])
    for number, session in enumerate(sessions):
        api.patch(f"/sessions/{session['id']}", {"meta_info": LABELS[number % len(LABELS)]})
    path = f"/sessions/{sessions[0]['id']}"
    frames = [orjson.loads(line) for line in api.get(f"{path}/frames?format=jsonl&stride={STRIDE}").body().splitlines()]
    chunk = CHUNK_S * synthetic_video.FPS
    for begin in range(0, len(frames), chunk):
        upload(api, sessions[0]["id"], "front", frames, range(begin, min(begin + chunk, len(frames))))
    upload(api, sessions[0]["id"], "wrist", frames, range(2 * chunk))  # the later videos are missing
    api.post(f"{path}/marks", data={"timestamp": frames[520]["timestamp"], "note": "slips"})
    wait_until(lambda: api.get(path).json()["quality"], 60, "the session's quality")
    return sessions[0]["id"]


def upload(api: Api, session_id: int, camera: str, frames: list[dict], pictures: range) -> None:
    moments = [frames[number]["observation"] for number in pictures]
    film = synthetic_video.film(camera, moments)
    form = {
        "session": str(session_id),
        "camera_key": f"observation.images.{camera}",
        "start_timestamp": str(frames[0]["timestamp"] + pictures.start / synthetic_video.FPS),
        "end_timestamp": str(frames[0]["timestamp"] + pictures.stop / synthetic_video.FPS),
        "file": {"name": "chunk.mp4", "mimeType": "video/mp4", "buffer": film},
    }
    api.post("/videos", multipart=form)


def pages(browser: Browser, server: Server, scheme: str, session_id: int) -> Iterator[tuple[str, Page]]:
    context = browser.new_context(base_url=server.url, viewport=SIZE, color_scheme=scheme)
    page = context.new_page()
    page.goto("/admin/login/")
    for field, text in LOGIN.items():
        page.locator(f"[name={field}]").fill(text)
    page.get_by_role("button", name="Log in").click()
    page.goto("/robots/robot_001/live")
    page.locator(".uplot").first.wait_for()
    page.wait_for_timeout(5_000)  # the page begins with earlier frames
    yield "live", page
    page.goto("/")
    page.wait_for_timeout(18_000)  # full small graphs make a file over the bound
    yield "fleet", page
    page.goto("/review?live=false")
    page.locator(".session img:not([hidden])").first.wait_for()
    yield "review", page
    page.goto(f"/sessions/{session_id}/replay?t=14.2")
    page.locator(".replay[data-state=paused]").wait_for()
    yield "replay", page
    if scheme == "light":
        page.set_viewport_size(PHONE)
        page.goto("/review?live=false")
        page.locator(".session img:not([hidden])").first.wait_for()
        yield "review-phone", page
    context.close()


def take(page: Page, path: Path) -> None:
    page.screenshot(path=path)
    size = path.stat().st_size
    assert size <= MAX_BYTES, f"{path} has {size} bytes; at most {MAX_BYTES} expected"


def main() -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        settings = {"DATABASE_URL": f"sqlite:///{folder}/db.sqlite3", "MEDIA_ROOT": folder, "SECRET_KEY": "pictures"}
        server = Server(Path(folder), **settings, ROBOT_AUTH="open", REDIS_URL="", BACKGROUND_WORK="serve")
        manage(server.environment(), "migrate", "--verbosity", "0")
        superuser = {f"DJANGO_SUPERUSER_{name.upper()}": value for name, value in LOGIN.items()}
        manage(server.environment() | superuser, "createsuperuser", "--noinput", "--email", "", "--verbosity", "0")
        with ExitStack() as stack:
            server.start()
            stack.callback(server.stop)
            simulation(server, 12, RECORDED_S).wait()
            session_id = curate(Api(playwright, server))
            streaming = simulation(server, 10)  # two are offline
            stack.callback(streaming.wait)
            stack.callback(streaming.terminate)
            browser = playwright.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=os.geteuid() != 0)
            for scheme in ("dark", "light"):
                for name, page in pages(browser, server, scheme, session_id):
                    take(page, IMAGES / (f"{name}.png" if name.endswith("phone") else f"{name}-{scheme}.png"))


if __name__ == "__main__":
    main()
