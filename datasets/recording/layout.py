"""Find what a session consists of, and compare it with other sessions: a dataset has one layout."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from datasets.options import Options
from datasets.recording.columns import Columns
from datasets.recording.features import CAPTURE_TIME, features_of, kind_of
from datasets.recording.names import list_of, name_of
from datasets.recording.pictures import camera_feature, camera_features
from datasets.recording.rates import common_fps
from datasets.types import Camera, CameraFeature, Feature, Layout, Recording, Refused, SessionEntry
from teleop.frames.sql import FrameRange, last_index, read_block
from teleop.models import TeleopFrame

SAMPLED_FRAMES = 64  # at each end of a session
MAX_SESSIONS_NAMED = 3


class Common(NamedTuple):
    """The layout and the rate that all sessions of a dataset share."""

    layout: Layout
    fps: int


def layout_of(
    recording: Recording, cameras: Iterable[Camera | CameraFeature], entry: SessionEntry, options: Options
) -> Layout:
    """Return the layout of a session; raises Refused if its frames have no value that becomes a feature."""
    sizes = tuple(each if isinstance(each, CameraFeature) else _size(each) for each in cameras)
    features = features_of(recording, entry, options, [each.key for each in sizes])
    if not features:
        raise Refused(f"{name_of(entry)}: its frames have no value in observation or action that can be exported")
    times = (Feature(CAPTURE_TIME, "float64", None, ()),) if options.capture_times else ()
    return Layout(features + times, sizes, entry.robot_type, entry.units)


def sample_of(entry: SessionEntry, next_index: int) -> Recording:
    """Read the first and the last frames of a session, which show its layout; raises Refused if there are none.

    `next_index` is its highest frame_index + 1.
    """
    head = read_block(FrameRange(entry.session_id), SAMPLED_FRAMES)
    if not head:
        raise Refused(f"{name_of(entry)} has no frames; it was deleted since it was selected")
    begin = max(last_index(head) + 1, next_index - SAMPLED_FRAMES)
    tail = read_block(FrameRange(entry.session_id, start=begin), SAMPLED_FRAMES)
    columns = Columns(name_of(entry), head.count(b"\n") + tail.count(b"\n"))
    columns.add_lines(head + tail)  # Arrow would take longer for so few
    return Recording(entry.session_id, columns.indexes, columns.times_us, columns.take())


def check_same_layout(
    entries: Sequence[SessionEntry], options: Options, report: Callable[[float], None] = lambda progress: None
) -> Common:
    """Return the layout of the first session and the rate of all; raises Refused with all differences by name.

    It reads 128 frames of each session and no film.
    """
    if not entries:
        raise Refused("no sessions are selected")
    fps = common_fps(entries, options)
    next_indexes = TeleopFrame.objects.next_indexes([entry.session_id for entry in entries])
    first, found = None, []
    for number, entry in enumerate(entries, 1):
        sample = sample_of(entry, next_indexes[entry.session_id])
        layout = layout_of(sample, camera_features(entry, options), entry, options)
        first = first or layout
        if different := differences(first, layout, entries[0], entry):
            found.append(different)
        report(number / len(entries))
    _refuse(found)
    return Common(first, fps)


def check_layout(
    layout: Layout, first: SessionEntry, recording: Recording, cameras: Iterable[Camera], entry: SessionEntry
) -> None:
    """Raise Refused if a session, now read as a whole, lacks a part of the layout, which is that of `first`.

    A column that is in neither end of the session is no part of the layout; `features.left_out` names it.
    """
    kinds = {name: kind_of(recording.columns[name]) for name in _kinds(layout) if name in recording.columns}
    sizes = tuple(map(_size, cameras))
    _refuse([found] if (found := _different(layout, kinds, sizes, first, entry)) else [])


def differences(a: Layout, b: Layout, entry_a: SessionEntry, entry_b: SessionEntry) -> list[str]:
    """Return a sentence for each difference, with the names of both sessions; the order of joints makes none."""
    found = _different(a, _kinds(b), b.cameras, entry_a, entry_b)
    for name, of_a, of_b in (("units", a.units, b.units), ("robot_type", a.robot_type, b.robot_type)):
        if of_a != of_b:
            sides = f"{of_b or 'not given'} in {name_of(entry_b)}, but {of_a or 'not given'} in {name_of(entry_a)}"
            found.append(f"{name} is {sides}")
    return found


def _different(
    layout: Layout,
    kinds: dict[str, str],
    cameras: Sequence[CameraFeature],
    first: SessionEntry,
    entry: SessionEntry,
) -> list[str]:
    """Compare a session's columns and cameras with the layout of the session `first`."""
    here, there = name_of(entry), name_of(first)
    known, known_sizes = _kinds(layout), {each.key: each for each in layout.cameras}
    found = _only("value", list(known), list(kinds), here, there)
    for name in known.keys() & kinds.keys():
        if known[name] != kinds[name]:
            found.append(f"{name} is {kinds[name]} in {here}, but {known[name]} in {there}")
    found += _only("camera", list(known_sizes), [each.key for each in cameras], here, there)
    for each in cameras:
        if each.key in known_sizes and (other := known_sizes[each.key]) != each:
            sizes = f"{each.width} x {each.height} in {here}, but {other.width} x {other.height} in {there}"
            found.append(f"{each.key} is {sizes}")
    return found


def _only(noun: str, known: list[str], given: list[str], here: str, there: str) -> list[str]:
    lacking, more = [name for name in known if name not in given], [name for name in given if name not in known]
    found = [f"{here} has no {noun} {list_of(lacking)}, which {there} has"] if lacking else []
    return found + ([f"{here} has the {noun} {list_of(more)}, which {there} lacks"] if more else [])


def _kinds(layout: Layout) -> dict[str, str]:
    return {column: feature.dtype for feature in layout.features for column in feature.columns}


def _refuse(found: list[list[str]]) -> None:
    if found:
        sentences = [sentence for different in found[:MAX_SESSIONS_NAMED] for sentence in different]
        more = len(found) - MAX_SESSIONS_NAMED
        raise Refused("; ".join([*sentences, *([f"{more} more sessions differ"] if more > 0 else [])]))


def _size(camera: Camera) -> CameraFeature:
    return camera_feature(camera.key, camera.films[0])
