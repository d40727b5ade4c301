from teleop.admin.frames import TeleopFrameAdmin
from teleop.admin.jobs import JobAdmin
from teleop.admin.sessions import TeleopSessionAdmin

__all__ = ["JobAdmin", "TeleopFrameAdmin", "TeleopSessionAdmin"]
