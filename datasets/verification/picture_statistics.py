"""Recompute the statistics of an episode's pictures from the film of the dataset.

The stated ones may be of the pictures before they were encoded again: they may differ by what encoding changes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from datasets.verification.findings import Findings
from datasets.verification.statistics import QUANTILES

LEVELS = 256
FEWEST, MOST = 100, 10_000  # pictures that are sampled
LARGE, THUMBNAIL = 300, 150  # pixels


class Tolerance(NamedTuple):
    """Of levels, 0 to 255; `share` is that of the pixels by which a quantile's rank may be missed."""

    mean: float
    std: float
    extreme: float
    quantile: float
    share: float


COPIED = Tolerance(mean=1, std=1, extreme=2, quantile=2, share=0.001)
# Colours of the source may be finer than 4:2:0.
ENCODED = Tolerance(mean=6, std=15, extreme=64, quantile=12, share=0.05)


def is_sampled(length: int) -> np.ndarray:
    """Return for each row of an episode whether LeRobot counts its picture, bool [length]."""
    count = min(MOST, max(min(FEWEST, length), int(length**0.75)))
    rows = np.zeros(length, bool)
    # linspace, as LeRobot has it: another formula for the same points rounds some halves to the other side.
    rows[np.round(np.linspace(0, length - 1, count)).astype(int)] = True
    return rows


class PictureStatistics:
    """Counts the levels of red, green and blue in the sampled pictures of an episode."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()
        self._counts = np.zeros((3, LEVELS), np.int64)
        self.pictures = 0

    def add(self, frame: av.VideoFrame) -> None:
        """Count every n-th pixel of every n-th line, as of large pictures LeRobot takes no more."""
        width, height = frame.width, frame.height
        step = int((width if width > height else height) / THUMBNAIL) if max(width, height) >= LARGE else 1
        pixels = self._reformatter.reformat(frame, format="rgb24").to_ndarray()[::step, ::step]
        for channel in range(3):
            self._counts[channel] += np.bincount(pixels[..., channel].ravel(), minlength=LEVELS)
        self.pictures += 1

    def check(
        self, where: str, stated: Mapping[str, Any], keys: Sequence[str], tolerance: Tolerance, findings: Findings
    ) -> None:
        if not findings.compare(f"{where}: the list of statistics", sorted(stated), sorted(keys)):
            return
        findings.compare(f"{where}: count", list(stated["count"]), [self.pictures])
        for key in keys:
            if key != "count" and np.shape(stated[key]) != (3, 1, 1):
                findings.add(f"{where}: {key} has the shape {np.shape(stated[key])}; (3, 1, 1) expected")
                return
        for channel in range(3):
            levels = {key: float(stated[key][channel][0][0]) * (LEVELS - 1) for key in keys if key != "count"}
            self._check_channel(f"{where}, channel {channel}", self._counts[channel], levels, tolerance, findings)

    def _check_channel(
        self, where: str, counts: np.ndarray, stated: dict[str, float], tolerance: Tolerance, findings: Findings
    ) -> None:
        levels, total, used = np.arange(LEVELS), counts.sum(), np.flatnonzero(counts)
        mean = counts @ levels / total
        std = (counts @ (levels - mean) ** 2 / total) ** 0.5
        for key, expected, most in (
            ("mean", mean, tolerance.mean),
            ("std", std, tolerance.std),
            ("min", used[0], tolerance.extreme),
            ("max", used[-1], tolerance.extreme),
        ):
            if not abs(stated[key] - expected) <= most:
                findings.add(f"{where}: {key} is {stated[key]:.2f} of 255; {expected:.2f} expected, or {most} off it")
        for key in sorted(QUANTILES.keys() & stated.keys()):
            below = counts[levels < stated[key] - tolerance.quantile].sum() / total
            up_to = counts[levels <= stated[key] + tolerance.quantile].sum() / total
            if not below - tolerance.share <= QUANTILES[key] <= up_to + tolerance.share:
                findings.add(
                    f"{where}: {key} is {stated[key]:.2f} of 255, with {below:.3f} of the pixels below and {up_to:.3f} "
                    f"up to it; {QUANTILES[key]:.3f} expected"
                )
