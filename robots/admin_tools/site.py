"""Admin site on which every ModelAdmin, of other packages too, answers only the queries that its pages offer."""

from django.contrib import messages
from django.contrib.admin import AdminSite, FieldListFilter, ListFilter
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.admin.utils import get_fields_from_path
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.forms import AuthenticationForm
from django.core.exceptions import ValidationError
from django.urls import reverse
from django.utils.text import smart_split

from robots.admin_tools.audit import AuditedAdmin
from robots.api.permissions import may_use_pages
from robots.api.throttling import LOGIN_WINDOW_S, LoginAttempts, count_refused

MAX_SEARCH_LENGTH, MAX_SEARCH_WORDS = 200, 10
DATE_PARTS = ("year", "month", "day")


class OfferedQueries:
    """Mixin that refuses lookups that no filter of the list offers.

    Django admits any lookup on a model's own fields. On SQLite `?key__regex=` runs Python's `re`, which holds the GIL:
    one such request stopped the whole server.
    """

    def lookup_allowed(self, lookup, value, request):
        if not hasattr(request, "offered_lookups"):
            request.offered_lookups = self.offered_lookups(request)
        return lookup in request.offered_lookups

    def offered_lookups(self, request) -> set[str]:
        dates = {f"{self.date_hierarchy}__{part}" for part in DATE_PARTS} if self.date_hierarchy else set()
        filters = [self._filter_of(item, request) for item in self.get_list_filter(request)]
        return dates.union(*(each.expected_parameters() for each in filters))

    def _filter_of(self, item, request) -> ListFilter:
        """Build the filter of a list_filter item as ChangeList does: of a class, a field, or a field with a class."""
        if callable(item):
            return item(request, {}, self.model, self)
        path, make = item if isinstance(item, tuple | list) else (item, FieldListFilter.create)
        field = get_fields_from_path(self.model, path)[-1]
        return make(field, request, {}, self.model, self, field_path=path)

    def get_search_results(self, request, queryset, search_term):
        """Bound the search, as each word adds a condition on every field that is searched."""
        words = len(list(smart_split(search_term)))
        if len(search_term) <= MAX_SEARCH_LENGTH and words <= MAX_SEARCH_WORDS:
            return super().get_search_results(request, queryset, search_term)
        bounds = f"at most {MAX_SEARCH_WORDS} words and {MAX_SEARCH_LENGTH} characters expected"
        problem = f"The search has {words} words and {len(search_term)} characters; {bounds}."
        self.message_user(request, problem, messages.ERROR, fail_silently=True)
        return queryset.none(), False


class PlainTitle:
    """Mixin that names a list by its objects: "Sessions". Django's title is "Select teleop session to change"."""

    def changelist_view(self, request, extra_context=None):
        title = str(self.opts.verbose_name_plural).removeprefix("teleop ")
        return super().changelist_view(request, {"title": title[0].upper() + title[1:]} | (extra_context or {}))


class LoginForm(AdminAuthenticationForm):
    error_messages = AuthenticationForm.error_messages  # the admin's speak of a staff account

    def clean(self):
        """Give the reason for a refused login, as Django's message could only report the failure."""
        if LoginAttempts(self.request, self.cleaned_data.get("username") or "").are_too_many:
            count_refused("logins")
            self.request.has_too_many_logins = True
            raise ValidationError(f"Too many failed logins; try again in {LOGIN_WINDOW_S // 60} minutes.")
        return super().clean()

    def confirm_login_allowed(self, user):
        """Let people with a role log in; the admin's own form lets only staff."""
        AuthenticationForm.confirm_login_allowed(self, user)
        if not may_use_pages(user):
            raise ValidationError("Your account has no role. An administrator can give it one.")


class Site(AdminSite):
    site_header = site_title = "LeRobot Backend"
    enable_nav_sidebar = False  # the header links the pages, and wide tables need the room
    login_form = LoginForm

    def has_permission(self, request):
        """Admit people with a role to the pages; each page checks its own permission."""
        return may_use_pages(request.user)

    def register(self, model_or_iterable, admin_class=None, **options):
        """Register a subclass in place of `admin_class`, so that every ModelAdmin has the bounds and the audit log."""
        admin_class = admin_class or AuditedAdmin
        # AuditedAdmin comes after the class, so that the class may override its methods.
        bases = tuple(dict.fromkeys((OfferedQueries, PlainTitle, admin_class, AuditedAdmin)))
        bounded = type(admin_class.__name__, bases, {"__module__": admin_class.__module__})
        super().register(model_or_iterable, bounded, **options)

    def login(self, request, extra_context=None):
        """Lead a person who asked for no page, or only for the site, to the review of sessions."""
        asked = request.POST.get(REDIRECT_FIELD_NAME) or request.GET.get(REDIRECT_FIELD_NAME)
        landing = {REDIRECT_FIELD_NAME: reverse("review")} if asked in (None, "", "/") else {}
        response = super().login(request, landing | (extra_context or {}))
        if getattr(request, "has_too_many_logins", False):
            response.status_code = 429
            response["Retry-After"] = str(LOGIN_WINDOW_S)
        return response
