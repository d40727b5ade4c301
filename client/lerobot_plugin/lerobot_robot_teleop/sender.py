"""A client, and what it loses."""

from pathlib import Path
from typing import Any

from teleop_client import RobotClient


class Sender:
    """Sends frames through a client that has been started. Without `has_films` it leaves out the `images`."""

    def __init__(self, client: RobotClient, images: list[str], *, has_films: bool) -> None:
        self.client = client
        self._left_out = [] if has_films else images

    def send(self, observation: dict[str, Any], action: dict[str, Any], time_s: float) -> None:
        for name in self._left_out:
            observation.pop(name, None)
        self.client.send(observation, action, time_s)

    def losses(self, spools: Path) -> list[str]:
        """Return a sentence for each kind of data that the server will never get, once the client is closed.

        `spools` is the folder of this robot's spools.
        """
        stats = self.client.stats
        sentences = [
            f"{counts['dropped']} of {counts['written']} pictures of camera {name} were dropped: "
            "this computer encodes too slowly"
            for name, counts in stats.cameras.items()
            if counts["dropped"]
        ]
        is_on_disk = (spools / self.client.session).exists()
        if frames := stats.dropped + (0 if is_on_disk else stats.pending):
            sentences.append(f"{frames} frames are lost: the disk did not take them, and the server was away")
        return sentences
