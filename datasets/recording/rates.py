"""Find the rate of a dataset from those of its sessions."""

from collections.abc import Mapping, Sequence

from datasets.options import Options
from datasets.recording.names import list_of, name_of
from datasets.types import Refused, SessionEntry


def common_fps(entries: Sequence[SessionEntry], options: Options) -> int:
    """Return the rate of the dataset; raises Refused if rates differ, or if a session is slower than options.fps."""
    first_of_rate: dict[int, SessionEntry] = {}
    for entry in entries:
        first_of_rate.setdefault(entry.fps, entry)
    return common_rate({fps: name_of(entry) for fps, entry in first_of_rate.items()}, options)


def common_rate(names: Mapping[int, str], options: Options) -> int:
    """Return the same; `names` maps each rate to the name of a session that has it."""
    slowest = min(names)
    if options.fps is None and len(names) > 1:
        listed = list_of([f"{fps} in {name}" for fps, name in sorted(names.items())])
        raise Refused(f"fps is {listed}; one rate expected: give fps, at most {slowest}")
    if options.fps is not None and options.fps > slowest:
        raise Refused(f"fps is {options.fps}; at most {slowest} expected, the fps of {names[slowest]}")
    return options.fps or slowest
