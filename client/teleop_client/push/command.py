"""The command `teleop push`: its options, its progress on stderr, and its exit codes."""

import argparse
import logging
import os
import re
import sys
import time
from collections.abc import Collection
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..command_options import rate
from ..connection import Link
from ..encoding import unix_seconds
from ..keys import read_key
from ..spool.session_spool import default_folder
from .target import AGAIN, Target

if TYPE_CHECKING:
    from .dataset import Dataset, Episode
    from .pushing import Summary

COMPLETE, INCOMPLETE, USAGE, INTERRUPTED = 0, 1, 2, 130
PROGRESS_INTERVAL_S = 0.2
RECEIPTS = ".pushed"  # a name that no robot has: the folder has one of each robot
EPILOG = """TELEOP_KEY is the robot's key, if there is no --key-file. Exit codes: 0, all chosen episodes are on the
server, except those that an option or staff have left out; 1, something is missing, and stderr says what; 2, the
options or the dataset cannot be used."""


def add_to(commands: Any) -> None:
    """Add the subcommand to those of `teleop`."""
    parser = commands.add_parser(
        "push",
        help="send a recorded LeRobot dataset (v3.0 or v2.1) to the server",
        description="Send each episode of a LeRobot dataset (v3.0 or v2.1) as a session with films. "
        "Sending it again stores nothing twice.",
        epilog=EPILOG,
    )
    parser.add_argument("dataset", nargs="?", type=Path, metavar="DATASET", help="the folder that has meta/info.json")
    parser.add_argument("--robot", required=True, metavar="ID", help="the robot's id on the server")
    parser.add_argument("--url", default=os.environ.get("TELEOP_URL"), help="the server; default: TELEOP_URL")
    parser.add_argument("--episodes", type=episode_range, metavar="N:M", help="from N to M - 1, or N; default: all")
    parser.add_argument("--watch", type=Path, metavar="DIR", help="push every dataset in DIR once it is complete")
    parser.add_argument("--recorded-at", type=moment, metavar="TIME", help="when row 0 was recorded: ISO 8601")
    parser.add_argument("--skip-broken", action="store_true", help="leave out episodes that are broken")
    parser.add_argument("--upload-kbit-s", type=rate, metavar="N", help="send at most so much")
    parser.add_argument("--key-file", type=Path, help="a file of mode 0600 with lines: a robot's id and its key")
    parser.add_argument("--ca-file", type=Path, help="the company's own CA, in PEM format")
    parser.add_argument("--deleted", action="store_true", help="send sessions again that staff have deleted")
    parser.add_argument("--dry-run", action="store_true", help="only check the dataset, and send nothing")
    parser.set_defaults(run=lambda options: run(parser, options))


def episode_range(text: str) -> slice:
    """Return the episodes of `N:M`, `N:`, `:M` or `N`."""
    if not (match := re.fullmatch(r"(\d{0,9})(:?)(\d{0,9})", text)) or text in ("", ":"):
        raise argparse.ArgumentTypeError(f"{text!r}; an episode such as 7, or a range such as 0:50, expected")
    first, is_range, end = match.groups()
    return slice(int(first or 0), (int(end) if end else None) if is_range else int(first) + 1)


def moment(text: str) -> float:
    """Return unix seconds; a time without a zone is in that of this machine."""
    try:
        seconds = unix_seconds(datetime.fromisoformat(text).timestamp())
    except (ValueError, OverflowError):
        seconds = None
    if seconds is None:
        raise argparse.ArgumentTypeError(f"{text!r}; a time such as 2026-05-17T14:00:00+02:00 expected")
    return seconds


def run(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    """Push one dataset, or watch a folder; return the exit code."""
    # The progress and the summary say it; the client's log would repeat it at each attempt to connect.
    logging.getLogger("teleop_client").addHandler(logging.NullHandler())
    target = _target(parser, options)
    try:
        from . import pushing, watch  # they import the packages of the extra
        from .dataset import DatasetUnusable, open_dataset
    except ImportError as error:
        parser.error(f"it needs the extra `push` of teleop-client ({error}): pip install 'teleop-client[push]'")
    progress = Progress()

    def push(dataset: "Dataset", done: Collection[str] = ()) -> "Summary":
        summary = pushing.push(
            dataset,
            chosen(dataset, options.episodes),
            target,
            recorded_at_s=options.recorded_at,
            skip_broken=options.skip_broken,
            is_dry_run=options.dry_run,
            done=done,
            progress=progress.show,
        )
        progress.end(summary.lines())
        return summary

    try:
        if options.watch:
            receipts = watch.Receipts(default_folder() / RECEIPTS, options.url, options.robot)
            watch.Watcher(options.watch, push, receipts, lambda text: progress.end([text])).run()
        summary = push(open_dataset(options.dataset, allow_unfinished=options.skip_broken))
        return INCOMPLETE if summary.faults else COMPLETE
    except (DatasetUnusable, OSError) as error:
        progress.end([f"{options.dataset} cannot be pushed: {error}"])
        return USAGE
    except KeyboardInterrupt:
        progress.end([f"interrupted; {AGAIN}"])
        return INTERRUPTED


def _target(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Target:
    if (options.dataset is None) is (options.watch is None):
        parser.error("one of DATASET and --watch DIR is required")
    if options.watch and (options.recorded_at is not None or options.dry_run):
        parser.error("--recorded-at and --dry-run are for one DATASET")
    if options.watch and not options.watch.is_dir():
        parser.error(f"--watch is {options.watch}; a folder expected")
    if not options.url:
        parser.error("--url or TELEOP_URL is required")
    try:
        key = read_key(options.robot, options.key_file)
        Link(options.url, options.robot, key, ca_file=options.ca_file and str(options.ca_file)).address("session-key")
    except (OSError, ValueError) as error:
        parser.error(str(error))
    return Target(options.url, options.robot, key, options.ca_file, options.upload_kbit_s, options.deleted)


def chosen(dataset: "Dataset", episodes: slice | None) -> "list[Episode]":
    """Return the chosen episodes, by their index; raise DatasetUnusable if there are none."""
    from .dataset import DatasetUnusable

    if episodes is None:
        return list(dataset.episodes)
    end = sys.maxsize if episodes.stop is None else episodes.stop
    found = [each for each in dataset.episodes if episodes.start <= each.index < end]
    if not found:
        known = [each.index for each in dataset.episodes]
        have = f"the episodes {min(known)} to {max(known)}" if known else "no episodes"
        raise DatasetUnusable(f"it has {have}, and --episodes chooses none of them")
    return found


class Progress:
    """One line on stderr that changes in place; without a terminal, nothing but the lines at the end."""

    def __init__(self) -> None:
        self._shown_s, self._length = 0.0, 0

    def show(self, text: str) -> None:
        now_s = time.monotonic()
        if sys.stderr.isatty() and now_s - self._shown_s > PROGRESS_INTERVAL_S:
            sys.stderr.write(f"\r{text:{self._length}}")
            sys.stderr.flush()
            self._shown_s, self._length = now_s, len(text)

    def end(self, lines: list[str]) -> None:
        sys.stderr.write("\r" * bool(self._length) + "".join(f"{line:{self._length}}\n" for line in lines))
        self._length = 0
