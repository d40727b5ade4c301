"""The sessions of one connected robot: one for each episode of lerobot, or one for a run without episodes."""

from typing import Any

from teleop_client import RobotClient

from .clients import Clients
from .faults import never_raises


class Sessions:
    """Begins, labels and ends sessions. One thread calls all methods; none raises.

    With `has_reset` the reset phases between episodes are sessions of their own; without it their frames are left out.
    """

    def __init__(self, clients: Clients, *, has_reset: bool) -> None:
        self.faults = clients.faults
        self._clients, self._has_reset = clients, has_reset
        self._client: RobotClient | None = None  # of the episodes, or of the whole run
        self._reset_client: RobotClient | None = None  # of the present reset phase
        self._current: RobotClient | None = None  # the one of the two that gets the frames
        self._begins_with_frame = True  # a run without episodes; episodes begin when they are announced
        self._labels: dict[str, Any] = {}  # of the present episode, for its end

    @never_raises
    def send(self, observation: dict[str, Any], action: dict[str, Any], time_s: float) -> None:
        if self._begins_with_frame:
            self._begin({})
        if self._current:
            self._current.send(observation, action, time_s)

    @never_raises
    def begin_episode(self, number: int) -> None:
        self._end_reset()
        self._begin({"episode": number})

    def _begin(self, meta_info: dict[str, Any]) -> None:
        """Begin a session, and end the one before with its labels."""
        self._current, self._begins_with_frame = None, False
        labels, self._labels = self._labels, {}
        if self._client is None:
            self._client = self._clients.start(meta_info)
        else:
            self._client.new_session(self._clients.meta_info | meta_info, labels)
        self._current = self._client

    @never_raises
    def begin_reset(self) -> None:
        """Send no more frames to the episode. Its session is open until lerobot says whether it is recorded again."""
        self._current = None
        if self._has_reset:
            self._current = self._reset_client = self._clients.start({"phase": "reset"})

    def _end_reset(self) -> None:
        client, self._reset_client = self._reset_client, None
        if client:
            self._clients.end(client, {})

    @never_raises
    def discard_episode(self) -> None:
        self._labels = {"success": False, "tags": ["re-recorded"]}

    @never_raises
    def stop(self, *, interrupted: bool = False) -> None:
        """End all sessions, in the background."""
        if interrupted:
            self._labels = {"tags": ["interrupted"]}
        self._begins_with_frame = False
        self._end_reset()
        client, self._client, self._current = self._client, None, None
        if client:
            self._clients.end(client, self._labels)

    def wait(self, until_s: float) -> None:
        """Wait until all sessions have ended, at most until this time of the steady clock."""
        self._clients.wait(until_s)

    def report(self) -> None:
        """Tell the user whether anything waits for the server."""
        self._clients.report()
