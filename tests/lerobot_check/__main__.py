"""Run the unmodified scripts of LeRobot with mock devices, and compare the server with them: `make lerobot-check`.

    python -m tests.lerobot_check [--only CHECK ...] PYTHON ...

PYTHON is one that LeRobot is installed in; tests/datasets_check/install.sh makes it. Exits with 1 if a frame, a value
or a picture is missing or differs, or if lerobot's loop becomes slower.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path

from tests.lerobot_check.environment import Environment, ProgramFailed, build_wheels, lerobot_version
from tests.lerobot_check.recording import CODEC
from tests.services import ROOT, Server

MOST_FINDINGS = 10


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.lerobot_check")
    parser.add_argument("--only", action="append", metavar="CHECK")
    parser.add_argument("pythons", nargs="+", metavar="PYTHON", type=_python_with_lerobot)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lerobot-check-", ignore_cleanup_errors=True) as name:
        _prepare_database(Path(name))
        results = _run(options.pythons, options.only, Path(name))
    print(f"{results.count(True)} passed, {results.count(False)} failed")
    return not (results and all(results))


def _python_with_lerobot(text: str) -> Path:
    python = Path(text).absolute()  # a venv's python is a link, which resolve() would follow out of the venv
    if (version := lerobot_version(python)) not in CODEC:
        raise argparse.ArgumentTypeError(
            f"{text} has {f'LeRobot {version}' if version else 'no LeRobot'}; {' or '.join(CODEC)} expected"
        )
    return python


def _prepare_database(folder: Path) -> None:
    os.environ |= {
        "DATABASE_URL": f"sqlite:///{folder}/db.sqlite3",
        "MEDIA_ROOT": f"{folder}/media",
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "SECRET_KEY": "lerobot-check",
    }
    os.environ.pop("REDIS_URL", None)
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, check=True)
    import django

    django.setup()


def _run(pythons: list[Path], only: list[str] | None, folder: Path) -> list[bool]:
    """Run the checks of each version; return for each whether it has passed."""
    from tests.lerobot_check.checks import CHECKS, Bench  # they need the database's settings

    wheels, results = build_wheels(folder / "build"), []
    with Server(folder) as server:
        for number, python in enumerate(pythons):
            bench = Bench(Environment(python, wheels, folder / f"environment-{number}"), server)
            for check in CHECKS[bench.environment.lerobot]:
                if not only or check.__name__ in only:
                    print(f"--- LeRobot {bench.environment.lerobot}: {check.__name__}", flush=True)
                    results.append(_passes(check, bench))
    return results


def _passes(check, bench) -> bool:
    try:
        findings = list(islice(check(bench), MOST_FINDINGS))
    except (ProgramFailed, AssertionError) as error:
        findings = [str(error)]
    for finding in findings:
        print(f"  {finding}")
    return not findings


if __name__ == "__main__":
    sys.exit(main())
