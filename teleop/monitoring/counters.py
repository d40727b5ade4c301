"""Counters for /metrics. They cost nothing for each frame, because workers count once for each group.

With several workers prometheus-client sums the files of each worker in PROMETHEUS_MULTIPROC_DIR (set by `serve`).
"""

from prometheus_client import Counter, Gauge, Histogram

from robots.counters import REQUESTS_REFUSED  # noqa: F401 - a process that refused none shows it too

SECONDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 10, 60)
ROWS = (1, 5, 10, 25, 50, 100, 200, 400, 1000, 4096)

ACCEPTED = Counter("teleop_frames_accepted", "Frames taken from robots, to be committed")
COMMITTED = Counter("teleop_frames_committed", "Frames committed, those that were stored already too")
REFUSED = Counter("teleop_refused", "What robots were told is final, frames and other messages", ["code"])
HANDSHAKES_REFUSED = Counter("teleop_handshakes_refused", "WebSockets not let in", ["code"])
HTTP_REFUSED = Counter("teleop_http_refused", "HTTP requests and connections refused before Django", ["code"])
PAUSES = Counter("teleop_reads_paused", "Times a WebSocket was not read on, its budget being spent", ["reason"])
CLOSED = Counter("teleop_connections_closed", "Robots' connections that are over", ["code"])
DATABASE_ERRORS = Counter("teleop_database_errors", "Groups that the database did not take, to be tried again")
COMMIT_S = Histogram("teleop_commit_seconds", "One group in the database thread", buckets=SECONDS)
GROUP_ROWS = Histogram("teleop_group_frames", "Frames committed together", buckets=ROWS)
ACK_LAG_S = Histogram("teleop_ack_lag_seconds", "Of each group's oldest frame, from receipt to ack", buckets=SECONDS)
PENDING = Gauge("teleop_frames_pending", "Frames that wait for their commit", multiprocess_mode="livesum")
PENDING_BYTES = Gauge("teleop_pending_bytes", "Their bytes, bounded a worker", multiprocess_mode="livesum")
PARKED = Gauge("teleop_sessions_parked", "Sessions whose frames cannot be stored now", multiprocess_mode="livesum")
CONNECTIONS = Gauge("teleop_connections", "Robots connected", multiprocess_mode="livesum")
WATCHERS = Gauge("teleop_watchers", "Pages that watch robots live", multiprocess_mode="livesum")
