"""The command `teleop-sidecar`: record the robot that an unmodified lerobot runs, from its Foxglove display."""

import argparse
import asyncio
import contextlib
import importlib
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

from ..aio import AsyncRobotClient
from ..keys import read_key
from .follow import Sidecar
from .picture_topic import ImageReader
from .run import Run

logger = logging.getLogger("teleop_client")

DESCRIPTION = """\
Record a robot that lerobot (0.6 or later) runs, without changing lerobot's robot type. Start lerobot with

    lerobot-record ... --display_data=true --display_mode=foxglove --display_port=8765

and this command beside it, before or after. Each run of lerobot becomes one session on the server, with
films of the cameras. Ctrl-C ends the session. The robot's key is read from TELEOP_KEY, or from --key-file.
"""
EPILOG = """\
The actions are those of the teleoperator, before the robot limits them. One session contains all episodes
of a run, and the reset phases between them. The plugin lerobot_robot_teleop has neither limit.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return 0, or 1 if frames or films still wait in the spool."""
    parser = _parser()
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("websockets").setLevel(logging.WARNING)
    try:
        client_options = _client_options(options)
        AsyncRobotClient(**client_options)  # it checks the options
    except (OSError, ValueError) as error:
        parser.error(str(error))
    images = _images() if options.cameras else None

    def new_run() -> Run:
        return Run(lambda: AsyncRobotClient(**client_options), options.fps, images)

    with contextlib.suppress(KeyboardInterrupt):
        return 0 if asyncio.run(_run(Sidecar(options.host, options.foxglove, new_run))) else 1
    return 1


async def _run(sidecar: Sidecar) -> bool:
    """Record until SIGINT or SIGTERM; return whether everything is stored."""
    following = asyncio.create_task(sidecar.follow())
    loop = asyncio.get_running_loop()
    with contextlib.suppress(NotImplementedError):  # Windows has no such handlers: there Ctrl-C cancels this task
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, following.cancel)
    try:
        await following
    except asyncio.CancelledError:
        logger.info("sending the rest of the recording; Ctrl-C keeps it on this computer for the next run")
    for number in (signal.SIGINT, signal.SIGTERM):  # a second Ctrl-C leaves at once; the spool keeps the rest
        with contextlib.suppress(NotImplementedError):
            loop.remove_signal_handler(number)
    return await sidecar.finish()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="teleop-sidecar",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    url = os.environ.get("TELEOP_URL")
    parser.add_argument("--url", required=url is None, default=url, help="your server; default: TELEOP_URL")
    parser.add_argument("--robot", required=True, metavar="ID", help="the robot's id on the server")
    parser.add_argument(
        "--foxglove", type=_port, default=8765, metavar="PORT", help="lerobot's --display_port; default: %(default)s"
    )
    parser.add_argument("--host", default="127.0.0.1", help="the computer that runs lerobot; default: this one")
    parser.add_argument(
        "--key-file", type=Path, metavar="FILE", help="a file of mode 0600 with a line: the robot's id and its key"
    )
    parser.add_argument("--ca-file", metavar="FILE", help="your company's own CA, in PEM format")
    parser.add_argument(
        "--fps",
        type=_fps,
        default=30,
        metavar="N",
        help="the rate of lerobot's loop: 30 for lerobot-record, 60 for lerobot-teleoperate, if you do not change it; "
        "default: %(default)s",
    )
    parser.add_argument("--task", help="what the robot does, in words; it is shown with the session")
    parser.add_argument("--no-cameras", dest="cameras", action="store_false", help="record no pictures")
    return parser


def _port(text: str) -> int:
    return _integer(text, 1, 65_535)


def _fps(text: str) -> int:
    return _integer(text, 1, 1000)


def _integer(text: str, least: int, most: int) -> int:
    if not text.isdecimal() or not least <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"{text!r}; {least} to {most} expected")
    return int(text)


def _client_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of the client. Raises OSError for the key's file, or ValueError."""
    meta_info = {"recorded_by": "teleop-sidecar"} | ({"task": options.task} if options.task else {})
    return {
        "url": options.url,
        "robot_id": options.robot,
        "key": read_key(options.robot, options.key_file),
        "fps": options.fps,
        "meta_info": meta_info,
        "ca_file": options.ca_file,
        "cameras": options.cameras,
    }


def _images() -> ImageReader | None:
    """Return the module that reads pictures, or None without PyAV or numpy."""
    try:
        importlib.import_module("teleop_client.camera.film_recorder")  # half a second, before the first frame
        from . import images
    except ImportError as error:
        logger.warning("pictures are left out (%s): pip install 'teleop-client[camera]' numpy", error)
        return None
    return images


if __name__ == "__main__":
    sys.exit(main())
