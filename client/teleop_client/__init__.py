"""The robot's half of the teleop protocol: a threaded and an asyncio client over one core without I/O."""

from .aio import AsyncRobotClient
from .errors import (
    AcknowledgedFramesLost,
    ClientClosed,
    DisconnectedByStaff,
    Fatal,
    FrameInvalid,
    FrameRefused,
    HandshakeRefused,
    JointsChanged,
    KeyRevoked,
    MessageRefused,
    SessionEnded,
    SessionTaken,
    TeleopError,
    TeleopTimeout,
)
from .protocol import ClientProtocol
from .reconnect import Delays
from .reporting import Stats
from .threaded import RobotClient

__all__ = [
    "AcknowledgedFramesLost",
    "AsyncRobotClient",
    "ClientClosed",
    "ClientProtocol",
    "Delays",
    "DisconnectedByStaff",
    "Fatal",
    "FrameInvalid",
    "FrameRefused",
    "HandshakeRefused",
    "JointsChanged",
    "KeyRevoked",
    "MessageRefused",
    "RobotClient",
    "SessionEnded",
    "SessionTaken",
    "Stats",
    "TeleopError",
    "TeleopTimeout",
]
