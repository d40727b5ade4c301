"""Parse options that several commands of this package have."""

import argparse

LEAST_KBIT_S = 16  # the server closes a slower upload


def rate(text: str) -> float:
    """Return kbit/s. Raise ArgumentTypeError, which argparse shows."""
    try:
        kbit_s = float(text)
    except ValueError:
        kbit_s = 0.0
    if not kbit_s >= LEAST_KBIT_S:
        raise argparse.ArgumentTypeError(f"{text!r}; a number of at least {LEAST_KBIT_S} expected")
    return kbit_s
