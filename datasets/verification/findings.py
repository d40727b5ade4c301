"""The result of a verification: what was compared, or what is wrong. No Django, no I/O."""

from typing import Any, NamedTuple

import numpy as np

MAX_FINDINGS = 50  # enough to see the cause; a shifted film would have one a picture


class Verified(NamedTuple):
    """What was compared with its source, and found equal."""

    rows: int
    values: int
    pictures: int
    files: int


class VerificationFailed(Exception):
    """The export is not what was recorded. `findings` are sentences: file, episode, row, feature, found, expected."""

    def __init__(self, findings: list[str]):
        self.findings = findings
        more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
        super().__init__(f"{findings[0]}{more}")


class Findings:
    """Collector of what is wrong; it raises VerificationFailed once there are MAX_FINDINGS."""

    def __init__(self) -> None:
        self._sentences: list[str] = []

    def add(self, sentence: str) -> None:
        self._sentences.append(sentence)
        if len(self._sentences) >= MAX_FINDINGS:
            self.conclude()

    def compare(self, where: str, found: Any, expected: Any) -> bool:
        """Add a finding unless the two are equal, and of the same type; return whether they are."""
        is_equal = type(found) is type(expected) and found == expected
        if not is_equal:
            self.add(f"{where} is {shown(found)}; {shown(expected)} expected")
        return is_equal

    def conclude(self) -> None:
        """Raise VerificationFailed if something is wrong."""
        if self._sentences:
            raise VerificationFailed(self._sentences)


def shown(value: Any) -> str:
    """Return the value for people; a float32 has as many digits as tell it from its neighbours."""
    if isinstance(value, np.generic):
        return str(value) if isinstance(value, np.floating) else repr(value.item())
    return repr(value) if len(repr(value)) <= 200 else f"{value!r:.200}..."
