"""Send the spools of dead processes: frames, events, the end, and films."""

import asyncio
import logging
import os
import re
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

from . import errors, system
from .camera.film_file import FOLDER, has_waiting
from .connection import Link, SessionConnection, in_thread
from .encoding import SESSION
from .protocol import ClientProtocol
from .reporting import Reporter
from .spool.session_spool import Spool

logger = logging.getLogger("teleop_client")

SET_ASIDE = "set-aside"  # the folder, beside those of the robots, of spools that the server refuses for good
POLL_S = 0.2
IDLE_S = 60.0  # a drain without progress for so long leaves the rest to the next one
REFUSED_S = 7 * 86400.0  # a spool that is refused for so long is set aside
EMPTY_S = 30 * 86400.0  # a spool that holds nothing is deleted after so long; until then its session may go on


class Outcome(Enum):
    """What became of a spool."""

    SENT = "sent"  # all of it; the folder is deleted
    EMPTY = "empty"  # it only remembers how far its session is
    IN_USE = "in use"  # by a client, or by another drain; or another connection has the session
    LEFT = "left"  # the server is not reachable, or refuses the key; a later drain may send it
    DISABLED = "disabled"  # the server takes nothing of this robot; a drain may ask again after some minutes
    UNUSABLE = "unusable"  # of a newer version, or not this robot's; the log says why
    SET_ASIDE = "set aside"  # the server will never take it


def is_in_use(folder: Path) -> bool:
    """Return whether a process has the spool."""
    try:
        fd = os.open(folder / "lock", os.O_RDWR)
    except OSError:
        return False
    try:
        return not system.lock(fd)
    finally:
        os.close(fd)


def folders(parent: Path, name: re.Pattern[str]) -> list[Path]:
    """Return the folders of such a name, the longest unchanged first; none if `parent` cannot be read."""
    found = []
    with suppress(OSError):
        for folder in parent.iterdir():
            if name.fullmatch(folder.name):
                with suppress(OSError):  # a client may have deleted it by now
                    found.append((folder.stat().st_mtime, folder))
    return [folder for _, folder in sorted(found)]


def spools(robot_folder: Path) -> list[Path]:
    """Return the folders of the spools of one robot, oldest first."""
    return folders(robot_folder, SESSION)


async def drain_leftovers(robot_folder: Path, link_to: Callable[[str | None], Link], **options: Any) -> list[Outcome]:
    """Send all spools of one robot that no process uses; stop at the first that cannot be sent now.

    The options are those of `drain`.
    """
    outcomes: list[Outcome] = []
    for folder in spools(robot_folder):
        try:
            outcomes.append(await drain(folder, link_to, **options))
        except Exception:  # one spool must not stop the others
            logger.exception("spool %s", folder)
            outcomes.append(Outcome.UNUSABLE)
        if outcomes[-1] in (Outcome.LEFT, Outcome.DISABLED):  # it would be the same with the next spool
            break
    return outcomes


async def drain(
    folder: Path, link_to: Callable[[str | None], Link], uploads: dict[str, Any] | None = None, **options: Any
) -> Outcome:
    """Send the frames, the events, the end and the films in one spool, and delete it; take no session from a client.

    `link_to` returns the link to the server whose URL the spool names; it may raise ValueError. `uploads` are options
    of FilmUploader, and `options` those of ClientProtocol.
    """
    if not (folder / "lock").exists():
        return Outcome.EMPTY
    try:
        spool = Spool(folder, robot_id=folder.parent.name, session=folder.name, is_drain=True)
    except errors.SpoolInUse:
        return Outcome.IN_USE
    except errors.SpoolUnusable as error:
        logger.error("%s", error)
        return Outcome.UNUSABLE
    films = folder / FOLDER
    if spool.is_empty and not has_waiting(films):
        spool.log.close(remove=not spool.was_used or time.time() - spool.modified_s > EMPTY_S)
        return Outcome.EMPTY
    try:
        link = link_to(spool.state["url"])
    except ValueError as error:
        logger.error("spool %s: %s", folder, error)
        spool.log.close()
        return Outcome.UNUSABLE
    reporter = Reporter(None, None)  # of this spool alone: the log shows its counts
    protocol = ClientProtocol(**options | {"reporter": reporter})
    protocol.attach(spool, is_drain=True)
    outcome = Outcome.LEFT
    try:
        outcome = Outcome.SENT if spool.is_empty else await _send(folder, link, protocol, spool)
        if outcome is Outcome.SENT and has_waiting(films):
            outcome = await _upload(films, link, protocol, spool, reporter, uploads or {})
    finally:
        await in_thread(partial(protocol.leave, is_done=outcome is Outcome.SENT))
    stats = protocol.stats
    why = protocol.error or stats.last_error or ""
    logger.info("%s: %s; %d frames sent, %d refused %s", folder, outcome.value, stats.acked, stats.refused, why)
    if outcome is Outcome.SET_ASIDE:
        set_aside(folder, f"{why}; {stats.pending} frames")
    return outcome


async def _send(folder: Path, link: Link, protocol: ClientProtocol, spool: Spool) -> Outcome:
    """Send the frames, the events and the end."""
    session_id = spool.state["session_id"]
    query = "&takeover=no" + (f"&expect={session_id}" if session_id is not None else "")
    connection = SessionConnection(link, folder.name, protocol, query)
    connection.start()
    try:
        await _run(connection, spool)
    finally:
        await connection.close()
    return _outcome(protocol, spool)


async def _upload(
    films: Path, link: Link, protocol: ClientProtocol, spool: Spool, reporter: Reporter, uploads: dict[str, Any]
) -> Outcome:
    """Upload the films of a dead process, until a client wants the spool."""
    kinds = set()

    def report(_: str, facts: dict[str, Any]) -> None:
        kinds.add(facts["error"])
        reporter.report(errors.FilmError(facts["text"]))

    uploader = link.film_uploader(**uploads, report=report)
    work = asyncio.create_task(asyncio.to_thread(uploader.drain, films, films.parent.name, protocol.time_of))
    try:
        while not work.done() and not spool.is_wanted:
            await asyncio.wait([work], timeout=POLL_S)
        uploader.stop()
        if not await work:
            return Outcome.SENT
        return Outcome.DISABLED if "disabled" in kinds else Outcome.LEFT
    except ImportError:
        logger.error("%s: films need PyAV: install the extra `camera` of this package", films)
        return Outcome.LEFT
    finally:
        uploader.stop()


async def _run(connection: SessionConnection, spool: Spool) -> None:
    """Wait until everything is sent, nothing has happened for IDLE_S, or a client wants the spool."""
    protocol = connection.protocol
    seen, last_s = None, time.monotonic()
    while time.monotonic() - last_s < IDLE_S and not spool.is_wanted:
        await connection.has_progress(POLL_S)
        if protocol.done or protocol.is_drained or protocol.is_disabled:
            return
        if seen != (seen := protocol.counts()):
            last_s = time.monotonic()


def _outcome(protocol: ClientProtocol, spool: Spool) -> Outcome:
    if protocol.is_drained or (protocol.frame_count is not None and not protocol.pending):
        return Outcome.SENT
    if protocol.is_disabled:
        return Outcome.DISABLED
    if isinstance(protocol.error, errors.SessionTaken):
        return Outcome.IN_USE
    if isinstance(protocol.error, errors.SessionDeleted):
        return Outcome.SET_ASIDE
    if protocol.was_greeted and spool.state["refused_since"]:
        spool.note(refused_since=None)
    if isinstance(protocol.error, errors.HandshakeRefused):
        since_s = spool.state["refused_since"] or time.time()
        spool.note(refused_since=since_s)
        return Outcome.SET_ASIDE if time.time() - since_s > REFUSED_S else Outcome.LEFT
    return Outcome.LEFT


def set_aside(folder: Path, reason: str) -> None:
    """Move a spool to where no drain looks, with the reason beside it. Nothing is deleted."""
    target = folder.parent.parent / SET_ASIDE / folder.parent.name / folder.name
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.move(folder, target)
    (target / "reason.txt").write_text(reason + "\n")
    logger.error("set aside in %s: %s", target, reason)
