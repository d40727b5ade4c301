from django.urls import path, re_path

from robots.accounts.views import AccountPage, PasswordLinkPage
from robots.api import views
from robots.api.routers import Router

router = Router()
router.register("robots", views.RobotViewSet)

urlpatterns = [
    *router.urls,
    re_path(r"^account/?$", AccountPage.as_view(), name="account"),
    path("account/password/<uidb64>/<token>", PasswordLinkPage.as_view(), name="password-link"),
    re_path(r"^auth/token/?$", views.TokenView.as_view()),
    re_path(r"^schema/?$", views.SchemaView.as_view(), name="schema"),
    re_path(r"^docs/?$", views.DocsView.as_view(url_name="schema"), name="docs"),
]
