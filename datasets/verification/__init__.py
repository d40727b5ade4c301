"""Verify an export against the database and the stored films, before anybody sees it.

This package shares no code with the parts that make an export (grid, films, formats, statistics, recording): it reads
the frames by its own SQL and the films by PyAV itself, and states the rules of the grid a second time.
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from datasets.verification.findings import Findings, VerificationFailed, Verified
from datasets.verification.sessions import check_sessions

__all__ = ["VerificationFailed", "Verified", "verify"]

MODULES = {"lerobot-v3.0": "lerobot", "lerobot-v2.1": "lerobot", "mcap": "mcap", "parquet": "parquet"}


def verify(folder: Path, manifest, report: Callable[[float], None] = lambda progress: None) -> Verified:
    """Compare every value and every picture with its source; raises VerificationFailed with all that differs.

    `report` gets the progress, 0 to 1.
    """
    module = import_module(f"{__name__}.{MODULES[manifest.options.format]}")
    _check_sessions(manifest)
    verified = module.verify(folder, manifest, report)
    _check_sessions(manifest)  # again: it may have taken an hour
    return verified


def _check_sessions(manifest) -> None:
    findings = Findings()
    check_sessions(manifest.sessions, findings)
    findings.conclude()
