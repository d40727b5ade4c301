"""Pages of people about their own account: the token, and the password that a one-time link lets them set."""

from django.contrib import admin, messages
from django.contrib.auth import login
from django.contrib.auth.mixins import LoginRequiredMixin
from django.contrib.auth.models import User
from django.contrib.auth.views import INTERNAL_RESET_SESSION_TOKEN, PasswordResetConfirmView
from django.db import transaction
from django.shortcuts import redirect
from django.urls import reverse_lazy
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.generic import TemplateView
from rest_framework.authtoken.models import Token

from robots import audit
from robots.accounts import links, roles
from robots.admin_tools.audit import HIDDEN
from robots.api import tokens
from robots.api.exceptions import WrongLogin


class AdminFrameMixin:
    """Mixin of a view whose template extends the admin's, without the sidebar."""

    def get_context_data(self, **context):
        return super().get_context_data(**admin.site.each_context(self.request), **context)


@method_decorator(never_cache, name="dispatch")  # the page has the token
class AccountPage(AdminFrameMixin, LoginRequiredMixin, TemplateView):
    """Page of the logged-in person: the role, the token of REST, the way to a new password."""

    login_url = reverse_lazy("admin:login")
    template_name = "accounts/account.html"
    extra_context = {"title": "Your account"}

    def get_context_data(self, **context):
        user = self.request.user
        token = Token.objects.filter(user=user).first()
        context |= {"role": roles.role_of(user), "token": token, "expires": token and tokens.expiry_of(token)}
        return super().get_context_data(**context)

    def post(self, request):
        """Replace the token, or with `delete` only delete it."""
        try:
            tokens.replace_token(request.user, with_new="delete" not in request.POST)
        except WrongLogin:
            messages.error(request, "Your password has just changed. The token stays as it is.")
        return redirect("account")


class PasswordLinkPage(AdminFrameMixin, PasswordResetConfirmView):
    """Page of a one-time link: the person sets a password and is logged in."""

    template_name = "accounts/password_link.html"
    title = "Set your password"
    extra_context = {"days": links.DAYS}

    def get_user(self, uidb64):
        user = super().get_user(uidb64)
        return user if user and user.is_active else None

    def form_valid(self, form):
        """Save the password, unless another request has used the link meanwhile."""
        session = self.request.session
        with transaction.atomic():
            stored = User.objects.select_for_update().get(pk=self.user.pk)
            self.validlink = self.token_generator.check_token(stored, session.pop(INTERNAL_RESET_SESSION_TOKEN))
            if not self.validlink:
                return self.render_to_response(self.get_context_data())
            user = form.save()
            audit.record(audit.person(user), audit.Action.CHANGED, [user], {"password": [HIDDEN, HIDDEN]})
        login(self.request, user)
        return redirect("review" if user.has_perm("teleop.view_teleopsession") else "admin:index")
