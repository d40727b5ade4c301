"""Counters for /metrics. They cost nothing for each frame, because workers count once for each group.

With several workers prometheus-client sums the files of each worker in PROMETHEUS_MULTIPROC_DIR (set by `serve`).
"""

from prometheus_client import Counter, Gauge, Histogram

from robots.counters import REQUESTS_REFUSED as REQUESTS_REFUSED  # a process that refused none shows it too

SECONDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 10, 60)
ROWS = (1, 5, 10, 25, 50, 100, 200, 400, 1000, 4096)

ACCEPTED = Counter("teleop_frames_accepted", "Frames accepted from robots, to be committed")
COMMITTED = Counter("teleop_frames_committed", "Frames committed, including frames that were already stored")
REFUSED = Counter("teleop_refused", "Frames and other messages that were refused", ["code"])
EVENTS = Counter("teleop_events_stored", "Events of robots that were stored", ["kind"])
EVENTS_DROPPED = Counter("teleop_events_dropped", "Events beyond the maximum of their session")
HANDSHAKES_REFUSED = Counter("teleop_handshakes_refused", "WebSocket handshakes refused", ["code"])
HTTP_REFUSED = Counter("teleop_http_refused", "HTTP requests and connections refused before Django", ["code"])
PAUSES = Counter("teleop_reads_paused", "Times a WebSocket was paused because of its budget", ["reason"])
CLOSED = Counter("teleop_connections_closed", "Robots' connections closed", ["code"])
PREVIEWS = Counter("teleop_previews", "Pictures of cameras passed on to live pages")
PREVIEW_BYTES = Counter("teleop_preview_bytes", "Bytes of these pictures")
PREVIEWS_DROPPED = Counter("teleop_previews_dropped", "Pictures above the rate, and those that no user wanted")
DATABASE_ERRORS = Counter("teleop_database_errors", "Groups of frames that the database did not store, to be retried")
COMMIT_S = Histogram("teleop_commit_seconds", "Time to commit a group of frames", buckets=SECONDS)
GROUP_ROWS = Histogram("teleop_group_frames", "Frames in a committed group", buckets=ROWS)
ACK_LAG_S = Histogram("teleop_ack_lag_seconds", "From receipt to ack, of each group's oldest frame", buckets=SECONDS)
PENDING = Gauge("teleop_frames_pending", "Frames waiting for their commit", multiprocess_mode="livesum")
PENDING_BYTES = Gauge("teleop_pending_bytes", "Bytes of frames waiting for their commit", multiprocess_mode="livesum")
PARKED = Gauge("teleop_sessions_parked", "Sessions with frames that cannot be stored now", multiprocess_mode="livesum")
CONNECTIONS = Gauge("teleop_connections", "Connected robots", multiprocess_mode="livesum")
WATCHERS = Gauge("teleop_watchers", "Open live pages", multiprocess_mode="livesum")
