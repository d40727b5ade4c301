"""The files of films on disk: `<camera>/<number>.mp4`, and `<number>.json` beside it, which says what it is.

While a film is written its name is `<number>.part.mp4`. It is a fragmented mp4, so after a kill it is whole up to its
last fragment.
"""

import contextlib
import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import system

FOLDER = "films"  # in the folder of a session's spool
PART = ".part.mp4"
REFUSED = "refused"  # the folder, beside those of the cameras, of films that the server will never take
TEMPORARY = ".upload"  # a film as it is uploaded


class FilmUnusable(ValueError):
    """The film, or the file beside it, cannot be read."""


TimeOf = Callable[[float, dict[str, Any]], float | None]


def films(folder: Path) -> list[Path]:
    """Return the complete films of all cameras of a session, oldest first."""
    found = []
    for path in folder.glob("*/*.mp4"):
        if path.parent.name != REFUSED and not path.name.endswith(PART):
            with contextlib.suppress(OSError):  # it may be uploaded and deleted by now
                found.append((path.stat().st_mtime, path))
    return [path for _, path in sorted(found)]


def has_waiting(folder: Path) -> bool:
    """Return whether a session has films that are not uploaded yet, complete or not; refused ones do not count."""
    return any(path.parent.name != REFUSED for path in folder.glob("*/*.mp4"))


def used_bytes(folder: Path) -> int:
    """Return the size of all films of a session, refused ones included."""
    size = 0
    for path in folder.glob("*/*"):
        with contextlib.suppress(OSError):  # it may be uploaded and deleted by now
            size += path.stat().st_size
    return size


def recover(folder: Path) -> None:
    """Complete the films that a process has left when it died. The caller holds the lock of the session's spool."""
    for part in folder.glob(f"*/*{PART}"):
        with contextlib.suppress(OSError):
            keep(part)
    for path in folder.glob("*/*"):
        is_alone = path.suffix == ".json" and not path.with_suffix(".mp4").exists()
        if path.parent.name != REFUSED and (is_alone or path.suffix in (TEMPORARY, ".part")):
            with contextlib.suppress(OSError):
                path.unlink()


def start_of(film: Path, time_of: TimeOf) -> float | None:
    """Return the unix time of a film's first picture, or None if it is not known yet; note it beside the film.

    `time_of` gets seconds since a time base, and the base's `boot` and `elapsed_s`; it returns the unix time once the
    base is fixed. Raise OSError or FilmUnusable.
    """
    about = read_about(film)
    start = about["start"]
    if "unix_s" not in start:
        if (unix_s := time_of(start["since_s"], start["base"])) is None:
            return None
        start["unix_s"] = unix_s
        write_about(film.with_suffix(".json"), about)
    return float(start["unix_s"])


def fix_times(folder: Path, time_of: TimeOf) -> None:
    """Note the unix time of all films of a session, for example before its spool is deleted."""
    for film in films(folder):
        with contextlib.suppress(OSError, ValueError):
            start_of(film, time_of)


def remove_empty(folder: Path) -> None:
    """Delete the folder of a session's films, and the session's, as far as they are empty."""
    for path in [*folder.glob("*"), folder, folder.parent]:
        with contextlib.suppress(OSError):
            path.rmdir()


def set_aside(film: Path, name: str, reason: str) -> None:
    """Move a film to the folder `refused`, with the reason beside it. Raise OSError."""
    folder = film.parent.parent / REFUSED
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / f"{name}.txt").write_text(reason + "\n", encoding="utf-8")
    with contextlib.suppress(FileNotFoundError):
        shutil.move(film.with_suffix(".json"), folder / f"{name}.json")
    film.rename(folder / f"{name}.mp4")


def read_about(film: Path) -> dict[str, Any]:
    """Return what the JSON beside a film says. Raise OSError, or FilmUnusable."""
    try:
        about = json.loads(film.with_suffix(".json").read_bytes())
        start = about["start"]
        float(start["unix_s"] if "unix_s" in start else start["since_s"] + start["base"]["elapsed_s"])
        str.__str__(about["camera"])
    except (FileNotFoundError, ValueError, LookupError, TypeError) as error:
        raise FilmUnusable(f"the JSON beside the film is missing or damaged: {error!r}") from error
    return dict(about)


def keep(part: Path) -> bool:
    """Cut a film behind its last whole fragment and rename it to `<number>.mp4`. If it has none, delete it.

    Return whether it is kept. Raise OSError.
    """
    path = part.with_name(part.name.removesuffix(".part.mp4") + ".mp4")
    if complete := complete_bytes(part):
        os.truncate(part, complete)
        part.rename(path)
    else:
        part.unlink()
        path.with_suffix(".json").unlink(missing_ok=True)
    return bool(complete)


def complete_bytes(path: Path) -> int:
    """Return the size of a fragmented mp4 up to the end of its last whole fragment; 0 if it has none. Raise OSError."""
    complete = position = 0
    kind = b""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        while len(header := file.read(8)) == 8:
            before, kind = kind, header[4:]
            position += int.from_bytes(header[:4])
            if int.from_bytes(header[:4]) < 8 or position > size:
                break
            if (before, kind) == (b"moof", b"mdat"):
                complete = position
            file.seek(position)
    return complete


def write_about(path: Path, about: dict[str, Any]) -> None:
    """Write or replace the JSON beside a film. Raise OSError."""
    part = path.with_suffix(".json.part")
    try:
        with open(part, "w", encoding="utf-8", opener=private) as file:
            json.dump(about, file)
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def sync_soon(*paths: Path) -> None:
    """Put files on the disk, also after a power cut, in a thread: an SD card may need half a second."""

    def sync() -> None:
        for path in paths:
            with contextlib.suppress(OSError):  # it may be uploaded and deleted by now
                fd = os.open(path, os.O_RDWR)
                try:
                    system.sync_data(fd)
                finally:
                    os.close(fd)
        for folder in {path.parent for path in paths}:
            with contextlib.suppress(OSError):
                system.sync_folder(folder)

    with contextlib.suppress(RuntimeError):  # the interpreter exits, and starts no more threads
        threading.Thread(target=sync, name="teleop-film-sync", daemon=True).start()


def first_free_number(folder: Path) -> int:
    """Return the number after the last film's in the folder of a camera."""
    numbers = (name.split(".")[0] for name in (os.listdir(folder) if folder.is_dir() else []))
    return max((int(number) for number in numbers if number.isdecimal()), default=0) + 1


def private(path: str, flags: int) -> int:
    """Open a file that only this user can read."""
    return os.open(path, flags, 0o600)
