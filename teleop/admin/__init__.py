from teleop.admin.frames import TeleopFrameAdmin
from teleop.admin.sessions import TeleopSessionAdmin

__all__ = ["TeleopFrameAdmin", "TeleopSessionAdmin"]
