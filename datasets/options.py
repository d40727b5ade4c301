"""Check the options of an export. The command line, REST and a manifest use the same names."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

FORMATS = ("lerobot-v3.0", "lerobot-v2.1", "mcap", "parquet")
ON_GAP = ("split", "refuse")
TRIMS = ("marks", "idle")
CODECS = ("h264", "av1")
REFUSALS = ("frozen_camera", "clock_step", "missing_frames")
SPLITS = ("", "robot")
MAX_FPS, MIN_GAP_S, MAX_GAP_S = 1000, 0.001, 60.0


class OptionError(ValueError):
    """An option has an unusable value. `field` is its name; the message has the value and the expected ones."""

    def __init__(self, field: str, value: Any, expected: str):
        self.field = field
        super().__init__(f"{field} is {value!r:.100}; {expected} expected")


@dataclass(frozen=True)
class Options:
    """Options of an export; the defaults are the command's."""

    format: str = "lerobot-v3.0"
    fps: int | None = None  # None: that of the sessions, which must agree
    max_gap_s: float = 0.25
    on_gap: str = "split"
    interpolate: tuple[str, ...] = ()  # patterns of joints (fnmatch) that are interpolated; all others are held
    trim: tuple[str, ...] = ("marks",)
    cameras: tuple[str, ...] | None = None  # None: all; (): none
    video_codec: str = "h264"
    split_by: str = ""
    capture_times: bool = False  # adds the float64 feature observation.capture_time
    modality: bool = False  # v2.1: meta/modality.json
    validation: float = 0.0  # share of the sessions
    refuse: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _choose("format", self.format, FORMATS)
        _choose("on_gap", self.on_gap, ON_GAP)
        _choose("video_codec", self.video_codec, CODECS)
        _choose("split_by", self.split_by, SPLITS)
        for name, choices in (("trim", TRIMS), ("refuse", REFUSALS)):
            for value in _texts(name, getattr(self, name)):
                _choose(name, value, choices)
        for name in ("interpolate", "cameras"):
            _texts(name, getattr(self, name) or ())
        for name in ("capture_times", "modality"):
            if type(getattr(self, name)) is not bool:
                raise OptionError(name, getattr(self, name), "true or false")
        if self.fps is not None and (type(self.fps) is not int or not 1 <= self.fps <= MAX_FPS):
            raise OptionError("fps", self.fps, f"a whole number from 1 to {MAX_FPS}")
        _between("max_gap_s", self.max_gap_s, MIN_GAP_S, MAX_GAP_S)
        _between("validation", self.validation, 0, 0.9)
        if self.modality and self.format != "lerobot-v2.1":
            raise OptionError("modality", self.modality, "false, or format lerobot-v2.1,")
        if self.format in ("mcap", "parquet"):
            self._check_has_no_grid()

    def _check_has_no_grid(self) -> None:
        """Refuse options of the grid: these formats have the frames as they were recorded."""
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name not in ("format", "cameras", "split_by", "validation") and value != each.default:
                raise OptionError(each.name, value, f"nothing, as {self.format} has no grid,")

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> "Options":
        """Return the options of a JSON object; raises OptionError, also for an unknown name."""
        known = {each.name for each in fields(cls)}
        for name in given:
            if name not in known:
                raise OptionError(name, given[name], f"one of the options {', '.join(sorted(known))}")
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})

    def to_json(self) -> dict[str, Any]:
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


def _choose(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise OptionError(name, value, f"one of {', '.join(choice or 'nothing' for choice in choices)}")


def _texts(name: str, values: Any) -> tuple[str, ...]:
    if not isinstance(values, tuple) or not all(isinstance(value, str) for value in values):
        raise OptionError(name, values, "a list of texts")
    return values


def _between(name: str, value: Any, least: float, most: float) -> None:
    if type(value) not in (int, float) or not least <= value <= most:
        raise OptionError(name, value, f"a number from {least} to {most}")
