"""Find stretches of equal values."""

import numpy as np


def runs(values: np.ndarray) -> list[slice]:
    """Return the stretches of equal values, in order."""
    ends = [*(np.flatnonzero(values[1:] != values[:-1]) + 1).tolist(), len(values)]
    return [slice(begin, end) for begin, end in zip([0, *ends], ends, strict=False) if end > begin]
