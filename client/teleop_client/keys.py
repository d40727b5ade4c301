"""The robots' keys: in the environment, or in a file that only its owner may read."""

import os
import stat
from pathlib import Path


class Keys:
    """The robots' keys: TELEOP_KEY for all, or a file with lines of a robot's id and its key."""

    def __init__(self, file: Path | None) -> None:
        self._all = os.environ.get("TELEOP_KEY")
        self._of = {} if file is None else self._read(file)

    @staticmethod
    def _read(file: Path) -> dict[str, str]:
        """Read the file. Raises ValueError without showing a key."""
        if os.name == "posix" and (mode := stat.S_IMODE(file.stat().st_mode)) & 0o077:
            raise ValueError(f"{file} has the mode {mode:04o}; 0600 expected, as it holds keys: chmod 600 {file}")
        keys = {}
        for number, line in enumerate(file.read_text().splitlines(), 1):
            words = line.split()
            if words and not words[0].startswith("#"):
                if len(words) != 2:
                    raise ValueError(f"{file}, line {number} has {len(words)} words; a robot's id and its key expected")
                keys[words[0]] = words[1]
        return keys

    def of(self, robot_id: str) -> str | None:
        return self._of.get(robot_id, self._all)


def read_key(robot_id: str, file: Path | None = None) -> str | None:
    """Return the key of one robot, or None without a file. Raise OSError, or ValueError without showing a key."""
    key = Keys(file).of(robot_id)
    if file and key is None:
        raise ValueError(f"{file} has no key of the robot {robot_id}")
    return key
