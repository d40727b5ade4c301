"""Choose the rate of a dataset."""

from collections.abc import Sequence

from datasets.options import Options
from datasets.types import Refused, SessionEntry


def fps_of(sessions: Sequence[SessionEntry], options: Options) -> int:
    """Return the rate of the dataset: options.fps, or that of the sessions.

    Raises Refused, by name, if options.fps is above that of a session, or if the sessions have several rates.
    """
    slowest = min(sessions, key=lambda session: session.fps)
    fastest = max(sessions, key=lambda session: session.fps)
    if options.fps is None:
        if slowest.fps != fastest.fps:
            raise Refused(
                f"session {slowest.session_id} has {slowest.fps} fps, session {fastest.session_id} has {fastest.fps}; "
                f"one rate expected, or fps of at most {slowest.fps}"
            )
        return slowest.fps
    if options.fps > slowest.fps:
        raise Refused(f"fps is {options.fps}; at most {slowest.fps} expected, the fps of session {slowest.session_id}")
    return options.fps
