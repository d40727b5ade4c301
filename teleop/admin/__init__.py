from teleop.admin.frames import TeleopFrameAdmin
from teleop.admin.jobs import JobAdmin
from teleop.admin.sessions import TeleopSessionAdmin
from teleop.admin.webhooks import WebhookAdmin, WebhookDeliveryAdmin

__all__ = ["JobAdmin", "TeleopFrameAdmin", "TeleopSessionAdmin", "WebhookAdmin", "WebhookDeliveryAdmin"]
