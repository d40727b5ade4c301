"""Freeze a selection: all that an export depends on, so that the same manifest gives the same bytes."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import orjson
from django.conf import settings
from django.db.models import Count

from datasets.models import NAME_PATTERN
from datasets.options import Options
from datasets.recording.cameras import is_chosen, key_of
from datasets.recording.names import list_of, name_of
from datasets.types import FilmEntry, Refused, SessionEntry
from teleop.models import TeleopEvent, TeleopSession
from videos.models import VideoChunk

MANIFEST_FORMAT = 1
NAME = re.compile(NAME_PATTERN)
BATCH = 500  # sessions a query


@dataclass(frozen=True)
class Manifest:
    """The name, the options and the sessions of an export; `created` is when it was frozen (ISO 8601, UTC)."""

    name: str
    options: Options
    sessions: tuple[SessionEntry, ...]
    code_version: str
    created: str

    def to_json(self) -> dict[str, Any]:
        head = {"manifest_format": MANIFEST_FORMAT, "name": self.name, "options": self.options.to_json()}
        about = {"code_version": self.code_version, "created": self.created}
        return head | about | {"sessions": [_entry_to_json(entry) for entry in self.sessions]}

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> "Manifest":
        """Return the manifest of a JSON object; raises Refused if it is none, or one of another format."""
        found = given.get("manifest_format") if isinstance(given, Mapping) else None
        if found != MANIFEST_FORMAT:
            raise Refused(f"manifest_format is {found!r:.40}; {MANIFEST_FORMAT} expected")
        try:
            sessions = tuple(map(_entry_from_json, given["sessions"]))
            options = Options.from_json(given["options"])
            return cls(_checked(given["name"]), options, sessions, given["code_version"], given["created"])
        except (KeyError, TypeError, ValueError) as error:
            raise Refused(f"the manifest cannot be used: {error!r:.200}") from None


def freeze(name: str, sessions: Iterable[TeleopSession], options: Options) -> Manifest:
    """Return the manifest of these ended sessions: training before validation, each by start time; raises Refused."""
    _checked(name)
    entries: list[SessionEntry] = []
    cameras: set[str] = set()
    selected = list(sessions)
    for begin in range(0, len(selected), BATCH):
        batch = selected[begin : begin + BATCH]
        films = _films(batch)
        cameras |= {film.camera for found in films.values() for film in found}
        events = _event_counts(batch) if options.format == "mcap" else {}
        entries += [_entry(session, films[session.pk], events.get(session.pk), options) for session in batch]
    if not entries:
        raise Refused("no sessions are selected")
    check_cameras(cameras, options)
    for entry in entries if options.split_by == "robot" else ():
        _checked(_name_of_part(name, entry.robot))
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return Manifest(name, options, _in_order(name, entries, options), code_version(), created)


def split(manifest: Manifest) -> dict[str, Manifest]:
    """Return a manifest for each robot, whose name ends with the robot."""
    robots = defaultdict(list)
    for entry in manifest.sessions:
        robots[entry.robot].append(entry)
    options = replace(manifest.options, split_by="")
    return {
        robot: replace(manifest, name=_name_of_part(manifest.name, robot), options=options, sessions=tuple(entries))
        for robot, entries in sorted(robots.items())
    }


def check_unchanged(entry: SessionEntry) -> None:
    """Raise Refused if the session or a film of it is not that of the manifest any more; labels may differ.

    Films that were uploaded later change nothing: an export has those of its manifest.
    """
    columns = ("key", "robot", "frame_count", "end_time", "fps")  # its meta_info may have 64 KiB
    session = TeleopSession.objects.filter(pk=entry.session_id).only(*columns).first()
    if session is None or (session.key, session.robot_id) != (entry.key, entry.robot):
        raise Refused(f"{name_of(entry)} was deleted since it was selected")
    if session.is_live:
        raise Refused(f"{name_of(entry)} was resumed since it was selected, and is live")
    found = (session.frame_count, _moment(session.end_time), session.fps)
    if found != (entry.frame_count, entry.end_time, entry.fps):
        raise Refused(
            f"{name_of(entry)} was resumed since it was selected: it has {found[0]} frames at {found[2]} fps until "
            f"{found[1]}, and had {entry.frame_count} at {entry.fps} until {entry.end_time}"
        )
    if entry.event_count is not None and (count := session.events.count()) != entry.event_count:
        raise Refused(f"{name_of(entry)} has {count} events of its robot, and had {entry.event_count}")
    if not entry.films:
        return
    stored = dict(VideoChunk.objects.filter(session=entry.session_id).values_list("pk", "sha256"))
    if lost := [film for film in entry.films if stored.get(film.video_id) != film.sha256]:
        names = list_of([f"{film.video_id} of camera {film.camera}" for film in lost])
        raise Refused(f"{name_of(entry)}: video {names} was deleted since it was selected")


@cache
def code_version() -> str:
    """Return the version of the server, and a hash of the program that writes datasets."""
    folder = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        if "tests" not in path.parts:
            digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return f"{settings.VERSION}+{digest.hexdigest()[:12]}"


def _name_of_part(name: str, robot: str) -> str:
    return f"{name}-{robot}"


def _checked(name: str) -> str:
    if not NAME.fullmatch(name):
        raise Refused(f"name is {name!r:.120}; 1 to 100 letters, digits, dots, hyphens and underscores expected")
    return name


def _films(sessions: list[TeleopSession]) -> dict[int, list[FilmEntry]]:
    """Return the films of these sessions by session, each session's by camera and time."""
    columns = ("session_id", "pk", "camera_key", "sha256", "start_timestamp")
    chunks = VideoChunk.objects.filter(session__in=[session.pk for session in sessions])
    films = defaultdict(list)
    for session_id, *values in chunks.order_by("camera_key", "start_timestamp").values_list(*columns):
        films[session_id].append(FilmEntry(*values))
    return films


def _event_counts(sessions: list[TeleopSession]) -> dict[int, int]:
    """Return the number of the robot's events of each session; events are only added, so it shows every change."""
    events = TeleopEvent.objects.filter(session__in=[session.pk for session in sessions]).order_by()
    counts = dict(events.values_list("session").annotate(count=Count("*")))
    return {session.pk: counts.get(session.pk, 0) for session in sessions}


def _entry(session: TeleopSession, films: list[FilmEntry], event_count: int | None, options: Options) -> SessionEntry:
    if session.is_live:
        raise Refused(f"session {session.pk} ({session.robot_id}) is live; end it first")
    if not session.frame_count:
        raise Refused(f"session {session.pk} ({session.robot_id}) has no frames")
    meta = session.meta_info if isinstance(session.meta_info, dict) else {}
    tags = meta.get("tags")
    joint_names = meta.get("joint_names")
    success = meta.get("success")
    return SessionEntry(
        session_id=session.pk,
        key=session.key,
        robot=session.robot_id,
        robot_type=session.robot.robot_type or None,
        fps=session.fps,
        frame_count=session.frame_count,
        start_time=_moment(session.start_time),
        end_time=_moment(session.end_time),
        task=_text(meta.get("task")),
        success=success if isinstance(success, bool) else None,
        tags=tuple(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else (),
        operator=_text(meta.get("operator")),
        note=_text(meta.get("note")),
        quality=_numbers(session.quality),
        clock_steps=tuple(session.clock_steps or ()),
        marks=tuple({name: mark.get(name) for name in ("timestamp", "kind", "note", "by")} for mark in session.marks),
        films=tuple(film for film in films if is_chosen(film.camera, options) and options.format != "parquet"),
        units=_units(meta.get("units")),
        joint_names=tuple(map(str, joint_names)) if isinstance(joint_names, list) else (),
        event_count=event_count,
    )


def _in_order(name: str, entries: list[SessionEntry], options: Options) -> tuple[SessionEntry, ...]:
    """Choose the validation sessions, of each robot if each gets its own dataset, and put them last."""
    groups = defaultdict(list)
    for entry in entries:
        groups[entry.robot if options.split_by == "robot" else ""].append(entry)
    chosen = {pk for group in groups.values() for pk in _validation(name, group, options.validation)}
    marked = [replace(entry, is_validation=entry.session_id in chosen) for entry in entries]
    return tuple(sorted(marked, key=lambda entry: (entry.is_validation, entry.start_time, entry.session_id)))


def _validation(name: str, entries: list[SessionEntry], share: float) -> list[int]:
    """Return the ids with the least hashes of name and id: a choice like a random one, and the same every time.

    At least one session is for validation if a share is asked for, and at least one is for training.
    """
    count = min(max(1, round(len(entries) * share)), len(entries) - 1) if share else 0
    ids = [entry.session_id for entry in entries]
    return sorted(ids, key=lambda pk: hashlib.sha256(f"{name}/{pk}".encode()).digest())[:count]


def check_cameras(cameras: set[str], options: Options) -> None:
    """Raise Refused if no session has a camera of the options; `cameras` are those of the sessions."""
    known = set(map(key_of, cameras))
    if missing := [camera for camera in options.cameras or () if key_of(camera) not in known]:
        there = list_of(sorted(cameras)) or "none"
        raise Refused(f"no session has a film of camera {list_of(missing)}; cameras of these sessions: {there}")


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _units(units: Any) -> str | None:
    return units if isinstance(units, str | None) else orjson.dumps(units, option=orjson.OPT_SORT_KEYS).decode()


def _numbers(quality: Any) -> dict[str, float]:
    given = quality.items() if isinstance(quality, dict) else ()
    return {name: float(value) for name, value in given if type(value) in (int, float)}


def _entry_to_json(entry: SessionEntry) -> dict[str, Any]:
    return asdict(entry) | {"films": [film._asdict() for film in entry.films]}


def _entry_from_json(given: Mapping[str, Any]) -> SessionEntry:
    values = {each.name: given[each.name] for each in fields(SessionEntry)}
    lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    return SessionEntry(**values | lists | {"films": tuple(FilmEntry(**film) for film in given["films"])})
