"""Export a small fleet, and read the datasets item by item with real LeRobot: `make datasets-check`.

The argument is the Python that LeRobot is installed in; install.sh makes it. Exits with 1 if a value, a picture or a
statistic differs from the database, or if lerobot-doctor reports anything.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
MANAGE = [sys.executable, "manage.py"]
QUIET = {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}


WITH_TEXT_WITHOUT_CAMERAS = (
    "Features in data but not in stats.json: ['observation.mode']",
    "VLA (Vision-Language-Action): no image/video features",
)


class Check(NamedTuple):
    kind: str
    options: list[str]
    episodes: int
    rows: int
    warnings: tuple[str, ...] = ()  # of lerobot-doctor, which it gives for LeRobot's own data sets of this kind too


CHECKS = {
    "v3.0-h264": Check("so101", ["--validation", "0.5"], 3, 368),
    "v2.1": Check("so101", ["--format", "lerobot-v2.1", "--modality"], 3, 368),
    "v3.0-av1": Check("bimanual", ["--video-codec", "av1"], 1, 230),
    "v3.0-lists": Check("lists", ["--capture-times"], 2, 215, WITH_TEXT_WITHOUT_CAMERAS),
    "v3.0-slower": Check("bimanual", ["--fps", "30"], 1, 115),
    "v3.0-lekiwi": Check("lekiwi", ["--video-codec", "av1"], 1, 119),
    "v3.0-one-joint": Check("one-joint", [], 1, 121),
    "v2.1-one-joint": Check("one-joint", ["--format", "lerobot-v2.1"], 1, 121),
}


def main() -> int:
    if len(sys.argv) != 2:
        print("usage: python -m tests.datasets_check PYTHON")
        return 2
    python = Path(sys.argv[1]).absolute()  # a venv's python is a link, which resolve() would follow out of the venv
    with tempfile.TemporaryDirectory(prefix="datasets-check-") as name:
        folder = Path(name)
        sessions = _fill(folder)
        failed = [check for check in CHECKS if not _check(check, sessions, folder, python)]
    print(f"{len(CHECKS) - len(failed)} passed, {len(failed)} failed")
    return bool(failed)


def _fill(folder: Path) -> dict[str, list[int]]:
    os.environ |= {
        "DATABASE_URL": f"sqlite:///{folder}/db.sqlite3",
        "MEDIA_ROOT": f"{folder}/media",
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "SECRET_KEY": "datasets-check",
        "SVT_LOG": "1",  # errors only, of the AV1 encoder
    }
    subprocess.run([*MANAGE, "migrate", "-v0"], check=True)
    import django

    django.setup()
    from tests.datasets_check.fleet import fill

    return fill()


def _check(name: str, sessions: dict[str, list[int]], folder: Path, python: Path) -> bool:
    from tests.datasets_check import truth

    print(f"--- {name}", flush=True)
    check, dataset = CHECKS[name], folder / name
    ids = sessions[check.kind]
    chosen = ["--sessions", ",".join(map(str, ids)), *check.options]
    if subprocess.run([*MANAGE, "export", str(dataset), *chosen]).returncode:
        return False
    expected = truth.write(folder, ids, episodes=check.episodes, rows=check.rows)
    reader = [python, "-I", HERE / "read_dataset.py", dataset, expected]
    return all([_run(reader, folder).returncode == 0, _doctor_reports_nothing(python, dataset, folder, check.warnings)])


def _doctor_reports_nothing(python: Path, dataset: Path, folder: Path, but: tuple[str, ...]) -> bool:
    command = [python.with_name("lerobot-doctor"), "check", "--json", dataset]
    found = json.loads(_run(command, folder, stdout=subprocess.PIPE).stdout)
    messages = [message for check in found["checks"] for message in check["messages"]]
    reported = [each for each in messages if each["severity"] != "PASS" and each["message"] not in but]
    for message in reported:
        print(f"  {message['severity']}: {message['message']}")
    print(f"lerobot-doctor: {len(messages)} messages, {len(reported)} warnings or failures")
    return not reported


def _run(command: list[Path | str], folder: Path, **options: Any) -> subprocess.CompletedProcess:
    """Run a program of LeRobot's environment. Nothing is asked of the Hub, and our `datasets` is not on its path."""
    settings = QUIET | {"HF_HOME": str(folder / "hub"), "PATH": os.environ["PATH"], "HOME": str(folder)}
    libraries = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return subprocess.run(command, env=settings | libraries, cwd=folder, **options)


if __name__ == "__main__":
    sys.exit(main())
