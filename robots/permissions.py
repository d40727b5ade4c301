"""Who may what. The table is in docs/api.md; the groups `viewer` and `curator` come with the migrations."""

from django.conf import settings
from rest_framework.permissions import SAFE_METHODS, DjangoModelPermissions

from robots.models import Robot

VIEW = ["%(app_label)s.view_%(model_name)s"]
CHANGE = ["%(app_label)s.change_%(model_name)s"]


class Permissions(DjangoModelPermissions):
    """People need the model permissions that the admin asks for too.

    A robot's key opens a view's `robot_methods`, for objects with its robot_id. With ROBOT_AUTH=open everyone may
    read, and use a view's `open_methods`.
    """

    perms_map = {**DjangoModelPermissions.perms_map, "GET": VIEW, "HEAD": VIEW}

    def has_permission(self, request, view):
        if settings.ROBOT_AUTH == "open" and request.method in (*SAFE_METHODS, *getattr(view, "open_methods", ())):
            return True
        if isinstance(request.auth, Robot):
            return request.method in getattr(view, "robot_methods", ())
        return super().has_permission(request, view)

    def has_object_permission(self, request, view, obj):
        if isinstance(request.auth, Robot) and request.method in getattr(view, "robot_methods", ()):
            return obj.robot_id == request.auth.pk
        return True


class MayChange(Permissions):
    """For what changes a part of the thing, whatever the method."""

    perms_map = {**Permissions.perms_map, "POST": CHANGE, "DELETE": CHANGE}
