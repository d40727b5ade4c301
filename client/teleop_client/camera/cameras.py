"""The cameras of one client: each session has a folder of films, and one thread uploads the films of all sessions."""

import importlib
import importlib.util
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .. import errors
from ..connection import Link, SessionConnection
from ..reporting import Reporter
from . import film_file, film_image
from .film_file import FOLDER
from .previews import Previews

if TYPE_CHECKING:
    from .camera import Camera

logger = logging.getLogger("teleop_client")

SHARE = 0.9  # of the spool's quota is for films and frames; the rest is for frames alone
FEW_FRAMES = 600  # films are uploaded while fewer frames wait
POLL_S = 0.05
# The types of a robot's scalars: an observation of these has no images, and needs no closer look.
_SCALARS = {float, int, bool, str, type(None)}


def is_available() -> bool:
    """Return whether PyAV is installed: the extra `camera` of this package."""
    return importlib.util.find_spec("av") is not None


class Cameras:
    """The cameras of a client, over all its sessions. `current` returns the connection of the present session."""

    def __init__(
        self,
        link: Link,
        reporter: Reporter,
        current: Callable[[], SessionConnection],
        kbit_s: float | None,
        strict: bool,
    ) -> None:
        self._reporter, self._current, self._strict = reporter, current, strict
        self._cameras: dict[str, Camera] = {}
        self._frame_s = 0.0  # of the last frame, by the steady clock
        self._recorded: SessionConnection | None = None
        self._uploader = link.film_uploader(kbit_s, may_upload=self._may_upload, report=self._report)
        self._is_uploading = False
        self.previews = Previews(link, self._cameras, lambda: self._current().protocol.greeted)

    def camera(self, name: str, **options: Any) -> "Camera":
        """Return the camera of this name; the first call makes it, with these options. Raises ValueError for them."""
        if name not in self._cameras:
            from .camera import Camera

            self._cameras[name] = Camera(
                name, self._report, strict=self._strict, frame_s=lambda: self._frame_s, **options
            )
            if self._recorded:
                self._begin(self._cameras[name], self._recorded)
        return self._cameras[name]

    def take_images(self, observation: Any, timestamp: float | None, moment: tuple[float, Any]) -> Any:
        """Hand the images of an observation of this moment to the cameras of their keys; return the rest of it."""
        self._frame_s = time.monotonic()
        if type(observation) is not dict or _SCALARS.issuperset(map(type, observation.values())):
            return observation
        images = {}
        for name, value in observation.items():
            if getattr(value, "ndim", 0) in (2, 3):
                with suppress(film_image.ImageInvalid):  # `send` notes it as a value that it left out
                    film_image.check(value)
                    images[name] = value
        for name, image in images.items():
            try:
                self.camera(name).write_at(moment, image, timestamp)
            except ValueError:  # the key cannot name a camera, so `send` notes the image as one that it left out
                continue
            observation = {key: value for key, value in observation.items() if key != name}
        return observation

    # A session begins, and ends

    def begin(self, connection: SessionConnection) -> None:
        """Record the session of this connection from now on; the films of the one before are still uploaded."""
        if connection.protocol.folder is None:
            return
        importlib.import_module(f"{__package__}.film_recorder")  # half a second, which the robot's loop cannot wait

        folder = connection.protocol.folder / FOLDER
        film_file.recover(folder)  # of a process that was killed in this session
        self._recorded = connection
        for camera in list(self._cameras.values()):
            self._begin(camera, connection)
        self._uploader.add(folder, connection.session, connection.protocol.time_of)
        if not self._is_uploading:
            self._is_uploading = True
            self._uploader.start()

    def _begin(self, camera: "Camera", connection: SessionConnection) -> None:
        protocol = connection.protocol
        assert protocol.folder
        folder = protocol.folder / FOLDER
        camera.begin(folder, protocol.moment, lambda: protocol.has_room(film_file.used_bytes(folder), SHARE))

    def complete(self, connection: SessionConnection) -> None:
        """Complete the films of a session: it ends."""
        for camera in list(self._cameras.values()):
            if connection is self._recorded:
                camera.end()
            else:
                camera.flush()
        self._uploader.wake()

    def finish(self, connection: SessionConnection, timeout_s: float) -> None:
        """Complete the films of a session, and wait until they are uploaded."""
        self.complete(connection)
        if connection.protocol.folder is None:
            return
        until_s, folder = time.monotonic() + timeout_s, connection.protocol.folder / FOLDER
        while film_file.films(folder) and time.monotonic() < until_s:
            time.sleep(POLL_S)

    def leave(self, connection: SessionConnection) -> None:
        """Upload no more of a session. Films that are left stay on disk with their times."""
        if connection.protocol.folder is not None:
            folder = connection.protocol.folder / FOLDER
            self._uploader.remove(folder)
            film_file.fix_times(folder, connection.protocol.time_of)
            if waiting := len(film_file.films(folder)):
                logger.warning("%d films wait in %s: the next client or teleop-agent uploads them", waiting, folder)

    def close(self) -> None:
        """Stop the threads."""
        self._uploader.stop()
        for camera in list(self._cameras.values()):
            camera.close()

    def counts(self) -> dict[str, Any]:
        """Return the counts of pictures by camera, and of films."""
        cameras = {name: camera.counts() for name, camera in list(self._cameras.items())}
        return {"cameras": cameras, "films": dict(self._uploader.counts) | {"waiting": self._uploader.waiting()}}

    @property
    def is_server_there(self) -> bool:
        """Return whether the server has answered: it greets the connection, or has ended the session and closed it."""
        protocol = self._current().protocol
        return protocol.greeted or protocol.frame_count is not None

    def _may_upload(self) -> bool:
        return self.is_server_there and self._current().protocol.pending < FEW_FRAMES

    def _report(self, what: str, facts: dict[str, Any]) -> None:
        """Report a fault of a camera, also as an event of the session, or an error of a film."""
        if what == "fault":
            self._current().protocol.add_event("camera", facts)
            self._reporter.report(errors.CameraFault(facts["text"]), logging.WARNING)
        else:
            self._reporter.report(errors.FilmError(facts["text"]), logging.WARNING)
