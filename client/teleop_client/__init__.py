"""The robot's half of the teleop protocol: a threaded and an asyncio client over one core without I/O."""

from .aio import AsyncRobotClient
from .errors import (
    AcknowledgedFramesLost,
    ClientClosed,
    ClockStepped,
    DisconnectedByStaff,
    EventRefused,
    Fatal,
    FrameInvalid,
    FrameRefused,
    HandshakeRefused,
    JointsChanged,
    KeyRevoked,
    MessageRefused,
    NotConnected,
    RobotDisabled,
    SessionDeleted,
    SessionEnded,
    SessionTaken,
    SpoolInUse,
    SpoolUnusable,
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
    "ClockStepped",
    "Delays",
    "DisconnectedByStaff",
    "EventRefused",
    "Fatal",
    "FrameInvalid",
    "FrameRefused",
    "HandshakeRefused",
    "JointsChanged",
    "KeyRevoked",
    "MessageRefused",
    "NotConnected",
    "RobotClient",
    "RobotDisabled",
    "SessionDeleted",
    "SessionEnded",
    "SessionTaken",
    "SpoolInUse",
    "SpoolUnusable",
    "Stats",
    "TeleopError",
    "TeleopTimeout",
]
