"""Plan the episodes of a session: which rows there are, and which frame and pictures each row takes."""

from collections.abc import Sequence

from datasets.grid.episodes import episode_of
from datasets.grid.gaps import refuse_gaps
from datasets.grid.idle import IdleEnds
from datasets.grid.notes import notes
from datasets.grid.parts import Bounds, parts_of
from datasets.grid.sides import clock_steps
from datasets.grid.streams import streams_of
from datasets.grid.times import half_us, row_times_us, seconds_to_us
from datasets.grid.trims import TOO_SHORT, TrimList, marked
from datasets.options import Options
from datasets.recording.names import name_of
from datasets.types import Camera, Episode, Layout, Plan, Recording, Refused, SessionEntry


def plan(
    recording: Recording, cameras: Sequence[Camera], layout: Layout, session: SessionEntry, options: Options, fps: int
) -> Plan:
    """Return the episodes of the session in the order of time; `fps` is that of the dataset.

    Raises Refused if `fps` is above the session's, and for a gap, a clock step or missing frames if the options refuse
    them.
    """
    if fps > session.fps:
        raise Refused(f"{name_of(session)}: fps is {fps}; at most {session.fps}, that of the session, expected")
    if not len(recording.times_us):
        return Plan([], [], [])
    max_gap_us = seconds_to_us(options.max_gap_s)
    steps = clock_steps(recording, session.fps)
    idle_ends = IdleEnds(recording, layout) if "idle" in options.trim else None
    row_us = int(row_times_us(0, fps, 2)[1])
    bounds = Bounds(marked(session, options), half_us(session.fps), row_us, idle_ends)
    if options.on_gap == "refuse":
        joined = streams_of(recording, cameras, layout, max_gap_us, join_gaps=True)
        refuse_gaps(joined, parts_of(joined, steps, bounds, TrimList()), max_gap_us, session)
    streams = streams_of(recording, cameras, layout, max_gap_us)
    warnings = notes(recording, streams, steps, session, options)
    trims, episodes = TrimList(), list[Episode]()
    for part in parts_of(streams, steps, bounds, trims):
        episode = episode_of(streams, part, session.session_id, len(episodes), fps, bounds.half_us)
        if episode:
            episodes.append(episode)
        else:
            trims.add_one(part.begin_us, part.end_us, TOO_SHORT)
    return Plan(episodes, trims.sorted(), warnings)
