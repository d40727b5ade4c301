"""Constants of the wire protocol (docs/protocol.md describes it). Values are only added, never removed."""

import re
from enum import StrEnum

from robots.close_codes import Close

SUBPROTOCOL = "teleop.v1"
SESSION_KEY = re.compile(r"[A-Za-z0-9_-]{8,64}")
EVENT_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
CAMERA_NAME = re.compile(rb"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")  # as the camera_key of a video
ACCEPTS = ("event", "preview")  # abilities that older servers lack

MAX_MESSAGE_BYTES = 2**20
MAX_DATA_BYTES = 2**16  # a frame's `data`, and meta_info, as compact UTF-8 JSON
MAX_FRAME_NAMES = 1024
MAX_BATCH_FRAMES = 600
MAX_NESTED = 2**17  # lists and objects in a message
MAX_MARKING_WORK = 2**17  # steps to find NaN and Infinity in a message that is not JSON: 20 ms
MAX_FRAME_INDEX = 2**31 - 1
MIN_TIMESTAMP = 946_684_800  # 2000-01-01T00:00:00Z
MAX_TIMESTAMP = 4_102_444_800  # 2100-01-01T00:00:00Z
MIN_FPS, MAX_FPS, DEFAULT_FPS = 1, 1000, 60
MAX_UNACKED = 6000  # 100 s at 60 FPS; a client keeps to this limit
UNUSABLE_IN_A_ROW = 100

MAX_EVENTS = 1000  # of a session; more are counted
MAX_EVENT_BYTES = 4096  # an event's `detail`, as compact UTF-8 JSON
MAX_NOTE = 500  # characters
MAX_SKIPPED_FRAMES = 100_000  # by one restart: the server counts the stored frames of the range
CAMERA_FAULTS = ("stopped", "frozen", "resized", "slow")

MAX_PREVIEW_BYTES = 2**16  # a picture with its header
MAX_PREVIEW_WIDTH, MAX_PREVIEW_HEIGHT = 320, 640
MAX_PREVIEWS_PER_S = 2  # of a camera
MAX_PREVIEW_CAMERAS = 8
MAX_CAMERA_NAME = 100

PING_INTERVAL_S = 20
PING_TIMEOUT_S = 40  # the connection is closed after 60 s in all


# Close codes without a preceding error message: code and detail to store as the robot's last error.
FAULTS = {
    Close.INVALID_UTF8: (
        "invalid_utf8",
        "a text message was not valid UTF-8, or its compressed data was damaged; closed with 1007",
    ),
    Close.MESSAGE_TOO_BIG: ("message_too_big", f"a message was over {MAX_MESSAGE_BYTES} bytes; closed with 1009"),
}
ROBOTS_FAULT = frozenset({Close.INVALID_UTF8, Close.MESSAGE_TOO_BIG, Close.UNUSABLE})


class Code(StrEnum):
    """Codes of `error` messages."""

    INVALID_MESSAGE = "invalid_message"
    INVALID_FRAME = "invalid_frame"
    FRAME_TOO_LARGE = "frame_too_large"
    OUT_OF_ORDER = "out_of_order"
    INDEX_REUSED = "index_reused"
    INVALID_START = "invalid_start"
    INVALID_END = "invalid_end"
    INVALID_EVENT = "invalid_event"
    REJECTED_BY_DATABASE = "rejected_by_database"
