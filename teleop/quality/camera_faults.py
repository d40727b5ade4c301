"""Count the faults of cameras that the robot reported as events."""

from teleop.models import TeleopEvent, TeleopSession

FAULTS = ("stopped", "frozen", "resized", "slow")
MAX_CAMERAS = 20  # in the quality; a robot may send any names


def camera_faults(session: TeleopSession) -> dict[str, dict[str, int]]:
    """Return the number of each fault by camera, such as `{"front": {"frozen": 2}}`; {} if there are none."""
    found: dict[str, dict[str, int]] = {}
    for detail in session.events.filter(kind=TeleopEvent.Kind.CAMERA).order_by("pk").values_list("detail", flat=True):
        camera, fault = (detail.get(name) for name in ("camera", "fault")) if isinstance(detail, dict) else (None, None)
        if isinstance(camera, str) and fault in FAULTS and (camera in found or len(found) < MAX_CAMERAS):
            faults = found.setdefault(camera, {})
            faults[fault] = faults.get(fault, 0) + 1
    return found
