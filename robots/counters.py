"""Counters of requests, for /metrics (teleop/monitoring/counters.py has those of robots' frames).

Import this module in the function that counts: prometheus-client reads PROMETHEUS_MULTIPROC_DIR at its import, and
`serve` sets the variable first.
"""

from prometheus_client import Counter

REQUESTS_REFUSED = Counter(
    "teleop_requests_refused", "HTTP requests refused with 429 or 503 because of a limit", ["code"]
)
