"""An environment with LeRobot, and its programs started as a user starts them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.services import ROOT, wait_until

HERE = Path(__file__).parent
PROJECTS = ("client", "client/lerobot_plugin", "tests/lerobot_check/mock_devices")
LEFT_OUT = shutil.ignore_patterns("tests", "build", "*.egg-info", "__pycache__")
PIP = ("-m", "pip", "-q", "--disable-pip-version-check")
RUN_TIMEOUT_S = 120
# read_dataset.py of the other check is imported too.
TORCH_WITHOUT_CUDA = (HERE / "torch_without_cuda", ROOT / "tests/datasets_check")


class ProgramFailed(Exception):
    """Raised if a program ends too early, or with an error; the message has the end of its output."""


class Program:
    """A running program, whose output is in `log`."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self.log = process, log

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def wait(self) -> str:
        """Wait until the program ends without an error, and return its output."""
        output, code = self.wait_for_end()
        self._check(code == 0)
        return output

    def wait_for_end(self) -> tuple[str, int]:
        wait_until(lambda: self.process.poll() is not None, RUN_TIMEOUT_S, f"the end of {self.log.stem}")
        return self.output(), self.process.returncode

    def wait_until(self, condition: Callable[[], Any], what: str) -> None:
        """Wait for a condition while the program runs."""
        wait_until(lambda: condition() or self.process.poll() is not None, RUN_TIMEOUT_S, what)
        self._check(self.process.poll() is None)

    def _check(self, is_right: bool) -> None:
        if not is_right:
            raise ProgramFailed(f"{self.log.stem}: exit code {self.process.returncode}\n{self.output()[-4000:]}")

    def terminate(self) -> str:
        self.process.terminate()
        return self.wait()


class Environment:
    """LeRobot's Python, and beside it the client, the plugin and the mock devices in a folder of their own."""

    def __init__(self, python: Path, wheels: list[Path], folder: Path) -> None:
        self.python, self.folder = python, folder
        self.site = folder / "site"
        self.spools = folder / "spools"
        install = [python, *PIP, "install", "--no-deps", "--no-index", "--target", self.site, *wheels]
        subprocess.run(install, check=True)
        self.lerobot = lerobot_version(python)

    @contextmanager
    def started(self, name: str, *command: str | Path, **settings: str) -> Iterator[Program]:
        """Start a program of the environment or of the site; kill it at the end of the block if it still runs."""
        log = self.folder / f"{name}.log"
        program = next(path for path in self._places(command[0]) if path.exists())
        with (
            log.open("wb") as output,
            subprocess.Popen(
                [program, *command[1:]],
                cwd=self.folder,
                env=self._variables() | settings,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            ) as process,
        ):
            try:
                yield Program(process, log)
            finally:
                process.kill()

    def run(self, name: str, *command: str | Path, **settings: str) -> str:
        with self.started(name, *command, **settings) as program:
            return program.wait()

    def fail(self, name: str, *command: str | Path, **settings: str) -> tuple[str, int]:
        """Run a program that ends with an error; return its output and its exit code."""
        with self.started(name, *command, **settings) as program:
            return program.wait_for_end()

    def _places(self, program: str | Path) -> list[Path]:
        return [self.site / "bin" / program, self.python.with_name(str(program))]

    def python_path(self, *first: Path) -> str:
        return os.pathsep.join(map(str, [*first, self.site, *(TORCH_WITHOUT_CUDA if self.lerobot == "0.4.4" else ())]))

    def _variables(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "HF_HOME": str(self.folder / "hub"),
            "HF_HUB_OFFLINE": "1",
            "TQDM_DISABLE": "1",
            "PYTHONPATH": self.python_path(),
            "PYTHONUNBUFFERED": "1",
            "DISPLAY": ":0",  # lerobot looks for a keyboard only beside a display
            "TELEOP_SPOOL_DIR": str(self.spools),
        }


def lerobot_version(python: Path) -> str | None:
    """Return the version of LeRobot that a Python has, or None."""
    code = "from importlib.metadata import version; print(version('lerobot'))"
    with suppress(OSError):
        return subprocess.run([python, "-c", code], capture_output=True, text=True).stdout.strip() or None
    return None


def build_wheels(folder: Path) -> list[Path]:
    """Build wheels of copies of the projects, because setuptools writes into the folder that it reads."""
    copies = [shutil.copytree(ROOT / name, folder / Path(name).name, ignore=LEFT_OUT) for name in PROJECTS]
    build = [sys.executable, *PIP, "wheel", "--no-deps", "--no-build-isolation", "-w", folder / "wheels", *copies]
    subprocess.run(build, check=True)
    return list((folder / "wheels").glob("*.whl"))
