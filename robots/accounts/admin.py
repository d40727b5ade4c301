"""Admin of people and of their tokens."""

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.decorators import method_decorator
from rest_framework.authtoken.admin import TokenAdmin
from rest_framework.authtoken.models import TokenProxy

from robots import audit
from robots.accounts import links, roles
from robots.accounts.forms import NewPersonForm
from robots.admin_tools import display
from robots.api import tokens
from robots.models import ApiToken

admin.site.unregister(User)
admin.site.unregister(TokenProxy)


@admin.register(User)
class PersonAdmin(UserAdmin):
    add_form = NewPersonForm
    add_form_template = "admin/auth/user/add_person.html"
    list_display = ["username", "first_name", "last_name", "role", "is_active", "seen"]
    fieldsets = [
        (None, {"fields": ["username", "password", "first_name", "last_name", "email"]}),
        ("Role", {"fields": ["groups", "is_superuser", "is_active"]}),
        ("Further permissions", {"classes": ["collapse"], "fields": ["is_staff", "user_permissions"]}),
        ("Dates", {"fields": ["last_login", "date_joined"]}),
    ]
    add_fieldsets = [(None, {"fields": ["username", "role"]})]
    # Django saves the password and records it in two transactions.
    user_change_password = method_decorator(transaction.atomic)(UserAdmin.user_change_password)

    def get_queryset(self, request):
        return super().get_queryset(request).prefetch_related("groups")

    @admin.display
    def role(self, user):
        return roles.role_of(user) or display.NOTHING

    @admin.display(description="last login", ordering="last_login")
    def seen(self, user):
        return display.ago(user.last_login)

    def get_form(self, request, obj=None, **options):
        form = super().get_form(request, obj, **options)
        if obj is None:
            form.may_add_administrators = request.user.is_superuser
        return form

    def construct_change_message(self, request, form, formsets, add=False):
        changes = super().construct_change_message(request, form, formsets, add)
        return changes | ({"role": [None, form.cleaned_data["role"]]} if add else {})

    def response_add(self, request, obj, post_url_continue=None):
        return self._show_link(request, obj)

    def get_urls(self):
        link = path("<path:object_id>/link/", self.admin_site.admin_view(self.issue_link), name="auth_user_link")
        return [link, *super().get_urls()]

    @method_decorator(transaction.atomic)
    def issue_link(self, request, object_id):
        """Ask, then issue a one-time link for the password."""
        user = self.get_object(request, object_id)
        if not self.has_change_permission(request, user):
            raise PermissionDenied
        if user is None:
            raise Http404(f"There is no person {object_id}; the account may have been deleted.")
        if request.method == "POST":
            return self._show_link(request, user)
        return self._link_page(request, user)

    def _show_link(self, request, user):
        audit.record(audit.actor_of(request), audit.Action.LINK_ISSUED, [user])
        return self._link_page(request, user, links.password_link(request, user))

    def _link_page(self, request, user, link=None):
        context = self.admin_site.each_context(request) | {"opts": self.opts, "title": f"Link for {user}"}
        context |= {"person": user, "link": link, "days": links.DAYS, "role": roles.role_of(user)}
        return TemplateResponse(request, "admin/auth/user/link.html", context)


@admin.register(ApiToken)
class ApiTokenAdmin(TokenAdmin):
    """List of tokens without their secrets; staff can delete a token, and people issue their own."""

    list_display = ["user", "issued", "expires"]
    fields = ["user", "issued", "expires"]

    @admin.display(ordering="created")
    def issued(self, token):
        return display.moment(token.created)

    @admin.display
    def expires(self, token):
        return display.moment(tokens.expiry_of(token)) if tokens.expiry_of(token) else "never"

    def has_view_permission(self, request, obj=None):
        return request.user.has_perm("authtoken.view_tokenproxy")

    def has_delete_permission(self, request, obj=None):
        return request.user.has_perm("authtoken.delete_tokenproxy")

    def has_add_permission(self, request):
        return False

    def has_change_permission(self, request, obj=None):
        return False
