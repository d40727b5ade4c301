"""Count the values of motors that are over their limits, from columns."""

from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from teleop.models import TeleopSession
from teleop.servo import Limits, ServoName, limits_of, servo_name

PART = "observation."
# Feetech's registers: a step in thousandths of %, V or A, and the bit that is the sign if the robot has not decoded it.
STEPS = {"load": 100, "voltage": 100, "current": 6.5}
SIGN_BITS = {"load": 2**10, "current": 2**15}
LARGEST = 1e300  # a hundred times this is finite


class ServoHealth:
    """Counts over the tables of a session. With 24 values a frame, a million frames take 0.2 s."""

    def __init__(self, session: TeleopSession):
        self._session = session
        self._found: dict[str, dict[str, Any]] = {}

    @cached_property
    def limits(self) -> Limits:
        """Return the limits; only a session whose motors report values reads its robot."""
        return limits_of(self._session.robot.meta_info, self._session.meta_info)

    def add(self, columns: pa.Table) -> None:
        over: dict[str, np.ndarray] = {}
        for column in columns.column_names:
            name = servo_name(column.removeprefix(PART)) if column.startswith(PART) else None
            if name is None or columns[column].null_count == columns.num_rows:
                continue
            values = in_units(name, columns[column].to_numpy())
            lower, upper = (np.nan if limit is None else limit for limit in self.limits.of(name))
            is_over = (values < lower) | (values > upper)  # False for NaN: a frame without the value
            over[name.kind] = over.get(name.kind, False) | is_over
            found = self._found.setdefault(name.kind, {"frames_over": 0, "min": np.inf, "max": -np.inf})
            found["min"] = min(found["min"], round(float(np.nanmin(values)), 6))
            found["max"] = max(found["max"], round(float(np.nanmax(values)), 6))
        for kind, is_over in over.items():
            self._found[kind]["frames_over"] += int(is_over.sum())

    def scores(self) -> dict[str, Any]:
        """Return the fields of the quality: none if the motors reported nothing."""
        if not self._found:
            return {}
        ignored = self.limits.problems
        return {"servo_health": self._found} | ({"limits_ignored": ignored} if ignored else {})


def in_units(name: ServoName, values: np.ndarray) -> np.ndarray:
    """Convert the numbers of a register to degrees C, %, V or A."""
    if not name.is_register or name.kind not in STEPS:
        return values
    values = values.clip(-LARGEST, LARGEST)
    if sign_bit := SIGN_BITS.get(name.kind):
        values = np.where(values >= sign_bit, sign_bit - values, values)
    return values * STEPS[name.kind] / 1000
