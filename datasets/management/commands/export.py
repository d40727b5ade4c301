import json
import os
import signal
from argparse import ArgumentTypeError
from dataclasses import fields
from pathlib import Path

from django.core.management.base import CommandError

from datasets.manifest import Manifest, check_unchanged, freeze
from datasets.options import CODECS, FORMATS, ON_GAP, REFUSALS, TRIMS, OptionError, Options
from datasets.selection import estimate, select
from datasets.types import Refused
from robots.management.base import FormatCheckedCommand

FLAGS = {"max_gap_s": "max-gap"}


def session_ids(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and 0 < int(part) < 2**31 for part in parts):
        raise ArgumentTypeError(f"{text!r:.100}; ids of sessions expected, such as 17,18")
    return [int(part) for part in parts]


def names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


class Command(FormatCheckedCommand):
    help = """Exports ended sessions as a LeRobot dataset, as MCAP or as Parquet into a new folder.

    The dataset is compared with the database before the folder gets its name. docs/datasets.md explains the options."""

    _shown = 0

    def add_arguments(self, parser):
        defaults = Options()
        parser.add_argument("target", type=Path, metavar="OUT", help="folder to make; it must be new or empty")
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--sessions", type=session_ids, metavar="IDS", help="ids of sessions, such as 17,18")
        what.add_argument("--where", metavar="FILTERS", help="filters of GET /sessions: 'task=Fold&success=true'")
        what.add_argument("--manifest", type=Path, metavar="FILE", help="make the export of this manifest.json again")
        parser.add_argument("--name", help="name of the dataset in the manifest; the folder's name if absent")
        parser.add_argument("--format", choices=FORMATS, help=f"default: {defaults.format}")
        parser.add_argument("--fps", type=int, metavar="N", help="rows a second, at most that of the sessions")
        parser.add_argument(
            "--max-gap", type=float, metavar="S", dest="max_gap_s", help=f"default: {defaults.max_gap_s} s"
        )
        parser.add_argument("--on-gap", choices=ON_GAP, help=f"default: {defaults.on_gap}")
        parser.add_argument(
            "--interpolate", type=names, metavar="JOINTS", help="joints, such as '*.pos'; default: none"
        )
        parser.add_argument("--trim", type=names, metavar="PARTS", help=f"of {', '.join(TRIMS)}; default: marks")
        parser.add_argument("--cameras", type=names, metavar="NAMES", help="default: all; '' exports no films")
        parser.add_argument("--video-codec", choices=CODECS, help=f"only such films are copied; {defaults.video_codec}")
        parser.add_argument("--split-by", choices=["robot"], help="write a dataset for each robot")
        parser.add_argument("--validation", type=float, metavar="SHARE", help="share of the sessions; default: 0")
        parser.add_argument("--capture-times", action="store_true", default=None, help="add the frames' true times")
        parser.add_argument("--modality", action="store_true", default=None, help="v2.1: add meta/modality.json")
        parser.add_argument("--refuse", type=names, metavar="FAULTS", help=f"of {', '.join(REFUSALS)}; default: none")
        parser.add_argument("--dry-run", action="store_true", help="print the estimate, and write nothing")

    def handle(self, *args, target, **options):
        os.environ["OPENBLAS_NUM_THREADS"] = "1"  # for NumPy's algebra, which is not used
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the unfinished folder is removed
        try:
            self._export(target, options)
        except (Refused, OptionError) as error:
            raise CommandError(str(error)) from None
        except KeyboardInterrupt:
            raise CommandError(f"interrupted; {target} was not made", returncode=130) from None

    def _export(self, target: Path, options: dict) -> None:
        from datasets.build import build, check_target  # here, as they load NumPy, Arrow and FFmpeg
        from datasets.verification import VerificationFailed

        try:
            check_target(target)
        except OSError as error:  # its name is too long, or its folder may not be read
            raise CommandError(f"{str(target)[:200]} cannot be made: {error.strerror}") from None
        manifest = self._manifest(target, options)
        if options["dry_run"]:
            return
        try:
            report = build(manifest, target, self._show_progress)
        except VerificationFailed as error:
            raise CommandError(f"the export differs from the recording and was not kept:\n{error}") from None
        except OSError as error:
            raise CommandError(f"{target} was not made: {error}") from None
        self._summarize(target, report)

    def _manifest(self, target: Path, options: dict) -> Manifest:
        if options["manifest"]:
            manifest = _read_manifest(options["manifest"], options)
            for entry in manifest.sessions:
                check_unchanged(entry)
            self.stdout.write(f"{manifest.name}: {len(manifest.sessions)} sessions, unchanged")
            return manifest
        chosen = {each.name: options[each.name] for each in fields(Options) if options[each.name] is not None}
        sessions = select(options["where"] or "", options["sessions"])
        manifest = freeze(options["name"] or target.resolve().name, sessions, Options(**chosen))
        self._print_estimate(estimate(sessions, manifest.options))
        return manifest

    def _print_estimate(self, found: dict) -> None:
        self.stdout.write(
            f"{found['sessions']} sessions, {found['frames']} frames, {found['hours']:.2f} h, "
            f"about {found['bytes'] / 1e6:.1f} MB"
        )

    def _show_progress(self, done: float) -> None:
        """Write the percentage, in a terminal in place and else every 10 %."""
        percent = int(100 * done)
        is_terminal = self.stdout.isatty()
        if percent // (1 if is_terminal else 10) > self._shown:
            self._shown = percent // (1 if is_terminal else 10)
            self.stdout.write(f"\r{percent} %" if is_terminal else f"{percent} %", ending="" if is_terminal else "\n")
            self.stdout.flush()

    def _summarize(self, target: Path, report: dict) -> None:
        for name, part in report.get("datasets", {"": report}).items():
            self.stdout.write(f"{target / name}: {part['episodes']} episodes, {part['hours']:.2f} h, verified")
            for warning in part["warnings"]:
                self.stderr.write(f"  {warning}")


def _read_manifest(path: Path, options: dict) -> Manifest:
    """Read the manifest of an earlier export, which has all options; raises CommandError."""
    for name in ("name", *(each.name for each in fields(Options))):
        if options[name] is not None:
            flag = FLAGS.get(name, name.replace("_", "-"))
            raise CommandError(f"--manifest has all options; --{flag} cannot be given too")
    try:
        return Manifest.from_json(json.loads(path.read_text()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CommandError(f"{path} is no manifest of an export: {error}") from None
