"""Check permissions. The table is in docs/api.md; the migrations create the groups `viewer` and `curator`."""

from django.conf import settings
from django.middleware.csrf import CsrfViewMiddleware
from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import SAFE_METHODS, DjangoModelPermissions

from robots.models import Robot

VIEW = ["%(app_label)s.view_%(model_name)s"]
CHANGE = ["%(app_label)s.change_%(model_name)s"]
# Needed for the pages that show robots live, and for their sockets: they show sessions, and the newest frames.
WATCH = ("robots.view_robot", "teleop.view_teleopsession", "teleop.view_teleopframe")


class Permissions(DjangoModelPermissions):
    """Require of people the same model permissions as the admin.

    A view that shows more than its model names the further permissions in `also_needed`. A robot's key permits a view's
    `robot_methods`, for objects with this robot's robot_id. With ROBOT_AUTH=open every client may read, and use a
    view's `open_methods`.
    """

    perms_map = {**DjangoModelPermissions.perms_map, "GET": VIEW, "HEAD": VIEW}

    def has_permission(self, request, view):
        if settings.ROBOT_AUTH == "open" and request.method in (*SAFE_METHODS, *getattr(view, "open_methods", ())):
            check_origin(request)
            return True
        if isinstance(request.auth, Robot):
            return request.method in getattr(view, "robot_methods", ())
        may_use_model = super().has_permission(request, view)
        return may_use_model and request.user.has_perms(getattr(view, "also_needed", ()))

    def _queryset(self, view):
        return view.queryset  # view.get_queryset() may build a costly query, and only the model matters

    def has_object_permission(self, request, view, obj):
        if isinstance(request.auth, Robot) and request.method in getattr(view, "robot_methods", ()):
            return obj.robot_id == request.auth.pk
        return True


class MayChange(Permissions):
    """Require the change permission for POST and DELETE too, where they change only a part of an object."""

    perms_map = {**Permissions.perms_map, "POST": CHANGE, "DELETE": CHANGE}


def may_use_pages(user) -> bool:
    """Return True for staff, and for people whose role or permissions let them see something."""
    return user.is_active and (user.is_staff or bool(user.get_all_permissions()))


def check_origin(request) -> None:
    """Refuse a request without credentials from another site's page, as a browser lets every page post a form."""
    if request.method in SAFE_METHODS or request.auth or request.user.is_authenticated:
        return
    origin = request.headers.get("Origin")
    if origin is not None and not CsrfViewMiddleware(lambda _: None)._origin_verified(request):
        raise PermissionDenied(f"Origin is {origin[:100]}; the origin of this server, or no Origin header, expected")
