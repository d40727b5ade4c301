"""Statistics of the acks of simulated robots: no I/O."""

from collections import Counter


class Latencies:
    """Latencies from `send` to ack, of the last second and in total; counted in whole ms to bound the memory."""

    def __init__(self) -> None:
        self.second: Counter[int] = Counter()
        self.total: Counter[int] = Counter()
        self._new_s: list[float] = []

    def add(self, latencies_s: list[float]) -> None:
        self._new_s += latencies_s

    def turn(self) -> None:
        """End the current second: its latencies become `second` and are added to `total`."""
        self.second = Counter(round(latency_s * 1000) for latency_s in self._new_s)
        self.total += self.second
        self._new_s.clear()


def percentile(counts: Counter[int], share: float) -> int:
    """Return the lowest value that `share` of all values do not exceed."""
    left = share * counts.total()
    for value in sorted(counts):
        left -= counts[value]
        if left <= 0:
            break
    return value


def in_words(latencies_ms: Counter[int]) -> str:
    if not latencies_ms:
        return "no acks"
    return f"ack p50 {percentile(latencies_ms, 0.5)} ms, p95 {percentile(latencies_ms, 0.95)} ms"
