"""All errors in one tree. Some are raised, some only passed to `on_error`; each docstring says which."""


class TeleopError(Exception):
    """Base class of all errors below."""


class ClientClosed(TeleopError):
    """The client was used before `start()`, after `end()` or `close()`, or in a forked process.

    `send` only reports it, once for each reason, except with `strict=True`.
    """


class SpoolInUse(TeleopError):
    """Raised by `start()`: another process, or another client of this one, has the spool of this session."""


class SpoolUnusable(TeleopError):
    """Reported only: the spool cannot be used, so frames are held in memory and do not survive the process."""


class TeleopTimeout(TeleopError, TimeoutError):
    """Raised when a call did not finish in the given time; the client continues until it is closed."""


class Fatal(TeleopError):
    """The client has stopped: passed to `on_error` once, then raised by every call that waits."""


class HandshakeRefused(Fatal):
    """Wrong or missing key, unknown robot or bad id (HTTP 403); only reported if the client was connected before."""


class KeyRevoked(Fatal):
    """The robot's key was revoked (4401)."""


class SessionTaken(Fatal):
    """Another connection resumed the same session (4409)."""


class SessionDeleted(Fatal):
    """Staff deleted the session on the server. Only a drain of a spool stops for it."""


class SessionEnded(Fatal):
    """The server ended the session while this client still held frames (staff can end a session)."""


class NotConnected(TeleopError):
    """Reported only: the first connection failed, for this reason in words; the client tries again."""


class ClockStepped(TeleopError):
    """Reported only: the robot's clock was set; the times of the frames go on as before."""


class EventRefused(TeleopError):
    """Reported only: the server will never store this mark or other event, so it is dropped."""


class CameraFault(TeleopError):
    """Reported only: a camera has stopped, is frozen, changed its size, or is slower than it promised."""


class FilmError(TeleopError):
    """Reported only: pictures could not be recorded, or a film could not be uploaded."""


class DisconnectedByStaff(TeleopError):
    """Reported only: staff disconnected the robot (4403); the client reconnects after a minute."""


class RobotDisabled(TeleopError):
    """Reported only, once: staff disabled the robot (4410). The client keeps its frames and asks every 10 minutes."""


class MessageRefused(TeleopError):
    """Reported only: the server refused a message that is not a frame, or closed because of such a message."""


class AcknowledgedFramesLost(TeleopError):
    """Reported only: the server no longer has frames that it had acknowledged."""


class FrameInvalid(TeleopError, ValueError):
    """Reported only, except with `strict=True`: a value was sent as null or left out, or the whole frame was.

    `key` is the value's dotted key; `frame` stands for the whole frame. `kind` is a word for the reason.
    """

    def __init__(self, key: str, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.key = key
        self.kind = kind


class JointsChanged(TeleopError):
    """Reported only: a frame has other joints than the frame before it, so vectors for training differ."""


class FrameRefused(TeleopError):
    """Reported only: the server will never store this frame, so it is dropped."""

    def __init__(self, frame_index: int, code: str, detail: str) -> None:
        super().__init__(f"frame {frame_index} refused: {code}: {detail}")
        self.frame_index = frame_index
        self.code = code
        self.detail = detail
