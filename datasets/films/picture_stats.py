"""Statistics of the pictures of an episode, as LeRobot computes them from a sample of them."""

import numpy as np

LEAST_SAMPLES, MOST_SAMPLES, POWER = 100, 10_000, 0.75
SMALL, THUMBNAIL = 300, 150  # pixels: larger pictures are thinned out until their longer side is about a thumbnail's
QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
LEVELS = 256
BINS = 5000  # of LeRobot's histogram between the least and the greatest value


def sampled_rows(length: int) -> np.ndarray:
    """Return the rows of an episode whose pictures count: at least 100 if there are so many, and at most 10,000."""
    samples = max(min(length, LEAST_SAMPLES), min(int(length**POWER), MOST_SAMPLES))
    return np.round(np.linspace(0, length - 1, samples)).astype(np.int64)


def thinned(picture: np.ndarray) -> np.ndarray:
    """Return every n-th row and column of a large picture, [height, width, 3]."""
    height, width, _ = picture.shape
    step = 1 if max(width, height) < SMALL else int((width if width > height else height) / THUMBNAIL)
    return picture[::step, ::step]


class PictureStats:
    """Counts how often each level of each colour occurs; all statistics follow from the counts."""

    def __init__(self) -> None:
        self._counts = np.zeros((3, LEVELS), np.int64)
        self._pictures = 0

    def feed(self, picture: np.ndarray) -> None:
        """Add a picture, uint8 [height, width, 3], red, green and blue."""
        for counts, channel in zip(self._counts, np.moveaxis(thinned(picture), 2, 0), strict=True):
            counts += np.bincount(channel.ravel(), minlength=LEVELS)
        self._pictures += 1

    def result(self) -> dict[str, np.ndarray]:
        """Return min, max, mean, std and quantiles, float64 [3, 1, 1] from 0 to 1, and the count of pictures, [1]."""
        channels = [_of_channel(counts) for counts in self._counts]
        stats = {
            name: np.array([channel[name] for channel in channels]).reshape(3, 1, 1) / (LEVELS - 1)
            for name in channels[0]
        }
        return stats | {"count": np.array([self._pictures], np.int64)}


def _of_channel(counts: np.ndarray) -> dict[str, float]:
    levels, total = np.arange(LEVELS), counts.sum()
    used = np.flatnonzero(counts)
    mean = (counts * levels).sum() / total
    variance = (counts * (levels - mean) ** 2).sum() / total
    stats = {"min": used[0], "max": used[-1], "mean": mean, "std": variance**0.5}
    return stats | _quantiles(counts[used], used)


def _quantiles(counts: np.ndarray, levels: np.ndarray) -> dict[str, float]:
    """Return quantiles as LeRobot estimates them: linear within the bin of a histogram in which they lie."""
    heights, edges = np.histogram(levels, np.linspace(levels[0], levels[-1] + 1e-9, BINS + 1), weights=counts)
    reached = np.cumsum(heights)
    found = {}
    for name, share in QUANTILES.items():
        target = share * reached[-1]
        bin_number = int(np.searchsorted(reached, target))
        before = reached[bin_number] - heights[bin_number]
        width = edges[bin_number + 1] - edges[bin_number]
        found[name] = edges[bin_number] + (width * (target - before) / heights[bin_number] if bin_number else 0.0)
    return found
