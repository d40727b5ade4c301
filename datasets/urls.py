from django.urls import path, re_path

from datasets import views
from datasets.api.views import ExportViewSet
from datasets.fleet_statistics.views import StatisticsView
from robots.api.routers import Router

router = Router()
router.register("exports", ExportViewSet)

pages = [
    path("hours", views.HoursPage.as_view(), name="hours"),
    path("exports/list", views.ExportsPage.as_view(), name="exports"),
    path("exports/new", views.NewExportPage.as_view(), name="new-export"),
    re_path(r"^exports/(?P<pk>[0-9]{1,18})/view/?$", views.ExportPage.as_view(), name="export-view"),
    re_path(r"^statistics/?$", StatisticsView.as_view()),
]
urlpatterns = [*pages, *router.urls]
